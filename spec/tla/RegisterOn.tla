----------------------------- MODULE RegisterOn -----------------------------
(***************************************************************************)
(* From code back to spec: the bounded model goes on from where real runs  *)
(* ended.  `checker explore` writes TraceEnds, with the end state of each  *)
(* accepted trace; each is an initial state here, and TLC does to it what  *)
(* RegisterMC does to an empty register: fresh ballots above all used      *)
(* ones, a write, a deletion, a quorum read, every interleaving, loss and  *)
(* duplication, also of what the run left on its way.                      *)
(*                                                                         *)
(* What a trace does not say of the ghosts is reconstructed, and always so *)
(* that it claims less than may be true.  So a violation is one:           *)
(*                                                                         *)
(*  votes    what an acceptor holds, and what its replies say that it held.*)
(*           It accepted these; what else it accepted is forgotten, so     *)
(*           fewer ballots count as chosen than were.                      *)
(*  lineage  the writes that a head remembers, which are its last ones. How*)
(*           many came before is in its generation, which ones is not:     *)
(*           Agreement compares what two heads both remember.              *)
(*  told     the newest head that is chosen by those votes; a client may   *)
(*           have been told of a newer one.                                *)
(*  collected  as many generations as a replica knows to be forgotten; of  *)
(*           these nothing else is known.                                  *)
(*  floors   of what was proposed in the run: none.  So only operations    *)
(*           that begin here must be as fresh as what was told.            *)
(*                                                                         *)
(* What nobody can accept any more and nobody holds or was told of is left *)
(* out of `proposed`, as nothing can come of it; and so are the run's      *)
(* quorum reads, as those who asked them are gone.                         *)
(***************************************************************************)
EXTENDS RegisterMC, TraceEnds

VARIABLE end       \* which of the end states this behaviour goes on from

OnNode == 1..Size_node

-----------------------------------------------------------------------------
(* What of an end state is gone on with. *)

Held(e) ==
    { e.accepted[r] : r \in e.group.replicas }
        \cup { e.reply[c][r].accepted : c \in OnNode, r \in e.group.replicas }

Matters(e) ==
    { b \in DOMAIN e.proposed : b \in Held(e) \/ \E r \in e.group.replicas : b >= e.promised[r] }

Witnessed(e, r) == ({ e.accepted[r] } \cup { e.reply[c][r].accepted : c \in OnNode }) \ {None}

ChosenAt(e, b) == Cardinality({ r \in e.group.replicas : b \in Witnessed(e, r) }) >= e.group.writeQuorum

Highest(generations) == CHOOSE g \in generations : \A other \in generations : other <= g

Remembered(h) == [i \in 1..Len(h.recent) |-> [write |-> h.recent[i]]]

OnInit ==
    /\ end \in 1..Len(Ends)
    /\ group = Ends[end].group
    /\ promised = Ends[end].promised
    /\ accepted = Ends[end].accepted
    /\ head = Ends[end].head
    /\ used = Ends[end].used
    /\ proposed = [b \in Matters(Ends[end]) |-> Ends[end].proposed[b]]
    /\ reply = Ends[end].reply
    /\ reads = <<>>
    /\ disk = Ends[end].disk
    /\ votes = [r \in OnNode |-> Witnessed(Ends[end], r)]
    /\ lineage = [b \in Matters(Ends[end]) |-> Remembered(Ends[end].proposed[b].head)]
    /\ floors = [b \in Matters(Ends[end]) |-> 0]
    /\ begun = [n \in OnNode |-> 0]
    /\ told = Highest({0} \cup { Ends[end].proposed[b].head.generation :
                                  b \in { b \in Matters(Ends[end]) : ChosenAt(Ends[end], b) } })
    /\ answers = {}
    /\ readFloor = <<>>
    /\ readAnswers = <<>>
    /\ collected = { [i \in 1..Ends[end].head[r].generation |-> Gap] :
                      r \in { r \in Ends[end].group.replicas : Ends[end].accepted[r] = None } }
    /\ restarts = 0

-----------------------------------------------------------------------------
(* What may happen from there: at two of the register's replicas, in the two rounds above the run's last.  A quorum *)
(* larger than it need be is left out, as a coordinator goes on as soon as it has one.                              *)

Serving(replicas) == { c \in replicas : Cardinality({ other \in replicas : other < c }) < 2 }

Top == Highest({ Ends[end].used[c] : c \in OnNode }) \div BallotBase

Fresh(c) == { Ballot(Top + 1, c), Ballot(Top + 2, c) }

Enough(size) == { counted \in SUBSET group.replicas : Cardinality(counted) = size }

(* Of writes that the run has not seen: no head remembers an id of less than 1. *)
Asked ==
    { Plain("put", -1, 1), Plain("delete", -2, NoEtag), [Plain("put", -3, 1) EXCEPT !.condition = "absent"] }

OnNext ==
    /\ \/ \E c \in Serving(group.replicas) : \E b \in Fresh(c) : MCPrepare(c, b)
       \/ \E c \in Serving(group.replicas), change \in Asked :
              \/ \E next \in {None} \cup Fresh(c) : MCClaim(c, change, next)
              \/ \E counted \in Enough(ReadQuorum) : MCPropose(c, counted, change, None)
       \/ \E c \in OnNode, b \in DOMAIN proposed : \E counted \in Enough(group.writeQuorum) : MCAcknowledge(c, b, counted)
       \/ \E r \in group.replicas, c \in OnNode : MCPromise(r, used[c])
       \/ \E r \in group.replicas, b \in DOMAIN proposed : MCAccept(r, b) \/ MCAdopt(r, b)
       \/ \E n \in group.replicas : MCRestart(n)
       \/ \E q \in ReadIds : MCReadBegins(q) \/ \E r \in group.replicas : MCReport(r, q)
       \/ \E q \in ReadIds, b \in {None} \cup DOMAIN proposed :
              \E counted \in Enough(Max(group.writeQuorum, ReadQuorum)) : MCRead(q, counted, b)
    /\ UNCHANGED end

OnSpec == OnInit /\ [][OnNext]_<<allVars, end>>

(* The search is breadth-first, and is not gone on with when it has found as many states as it was asked for. *)
OnEnough == TLCGet("distinct") < StatesMax

-----------------------------------------------------------------------------
(* Agreement, as far as heads remember: what two of them know of one generation is the same write. *)

Forgotten(b) == proposed[b].head.generation - Len(lineage[b]) + GapOf(lineage[b])

WriteOf(b, generation) == lineage[b][generation - Forgotten(b)].write

OnAgreement ==
    \A b \in DOMAIN proposed : Chosen(b) =>
        \A later \in DOMAIN proposed : later > b =>
            /\ proposed[later].head.generation >= proposed[b].head.generation
            /\ \A generation \in (Max(Forgotten(b), Forgotten(later)) + 1)..proposed[b].head.generation :
                   WriteOf(b, generation) = WriteOf(later, generation)

(* A head remembers no more writes than led to it. *)
OnGenerations == \A b \in DOMAIN proposed : Forgotten(b) >= 0
=============================================================================
