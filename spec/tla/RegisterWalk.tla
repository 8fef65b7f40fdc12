---------------------------- MODULE RegisterWalk ----------------------------
(***************************************************************************)
(* Random behaviours of RegisterMC, each step told with its parameters and *)
(* with the state it leads to, one line a step: from spec to code.         *)
(* `tracegen behaviours` has TLC walk, and drives the server's own         *)
(* acceptors, proposer and storage through the same steps.                 *)
(***************************************************************************)
EXTENDS RegisterMC

VARIABLE step      \* what led here: <<action, parameters...>>

WalkInit == MCInit /\ step = <<"Init">>

Asked(change) ==
    <<change.operation, change.condition, change.wantedEtag, change.wantedGeneration, change.write, change.etag,
      change.versioned, change.version>>

(* Quorums larger than they need be are left out: a coordinator goes on as soon as it has one. *)
Enough(size) == { counted \in SUBSET Replicas : Cardinality(counted) = size }

Flat(h) ==
    <<h.generation, Deleted(h), Etag(h), h.recent,
      [i \in 1..Len(h.versions) |-> <<h.versions[i].id, h.versions[i].deleted, h.versions[i].etag>>]>>

(* Said of a state when TLC looks for what may follow it: so of each state of a walk, and of no other; perhaps twice. *)
Say == PrintT(ToString(<<"step", TLCGet("level"), step,
                         [r \in Replicas |-> <<promised[r], accepted[r], Flat(head[r])>>]>>))

(* A walk that leaps over ballots, or hands round only old ones, agrees on nothing: the newest are the likely ones. *)
Newest == { used[c] : c \in Coordinators } \ {None}
After(c, b) == Ballot(b \div BallotBase + 1, c)
Highest == CHOOSE b \in { used[c] : c \in Coordinators } : \A c \in Coordinators : used[c] <= b

WalkNext ==
    \/ Say /\ \E c \in Coordinators : MCPrepare(c, After(c, Highest)) /\ step' = <<"Prepare", c, After(c, Highest)>>
    \/ Say /\ \E c \in Coordinators, change \in Changes :
           MCClaim(c, change, After(c, Highest)) /\ step' = <<"Claim", c, After(c, Highest), Asked(change)>>
    \/ Say /\ \E c \in Coordinators, change \in Changes, counted \in Enough(ReadQuorum) :
           /\ MCPropose(c, counted, change, After(c, used[c]))
           /\ step' = <<"Propose", c, used[c], After(c, used[c]), counted, Asked(change)>>
    \/ Say /\ \E c \in Coordinators, b \in DOMAIN proposed, counted \in Enough(WriteQuorum) :
           MCAcknowledge(c, b, counted) /\ step' = <<"Acknowledge", c, b, counted>>
    \/ Say /\ \E r \in Replicas, b \in Newest : MCPromise(r, b) /\ step' = <<"Promise", r, b>>
    \/ Say /\ \E r \in Replicas, b \in Newest :
           Refuse(r, "prepare", b) /\ UNCHANGED ghosts /\ step' = <<"RefusePrepare", r, b>>
    \/ Say /\ \E r \in Replicas, b \in DOMAIN proposed : MCAccept(r, b) /\ step' = <<"Accept", r, b>>
    \/ Say /\ \E r \in Replicas, b \in DOMAIN proposed : MCAdopt(r, b) /\ step' = <<"Adopt", r, b>>
    \/ Say /\ \E r \in Replicas, b \in DOMAIN proposed :
           Refuse(r, "accept", b) /\ UNCHANGED ghosts /\ step' = <<"RefuseAccept", r, b>>
    \/ Say /\ \E n \in Replicas \cup Coordinators : MCRestart(n) /\ step' = <<"Restart", n>>
    \/ Say /\ \E q \in ReadIds : MCReadBegins(q) /\ step' = <<"ReadBegins", q>>
    \/ Say /\ \E q \in ReadIds, r \in Replicas : MCReport(r, q) /\ step' = <<"Report", r, q>>
    \/ Say /\ \E q \in ReadIds, b \in {None} \cup DOMAIN proposed : \E counted \in Enough(Max(WriteQuorum, ReadQuorum)) :
           MCRead(q, counted, b) /\ step' = <<"Read", q, counted, b>>

WalkSpec == WalkInit /\ [][WalkNext]_<<allVars, step>>

-----------------------------------------------------------------------------
WalkChanges ==
    { Plain("put", w, w) : w \in 1..2 } \cup { Plain("delete", 5, NoEtag), Plain("read", NoWrite, NoEtag) }
    \cup { [Plain("put", 6, 6) EXCEPT !.condition = "absent"], [Plain("put", 7, 7) EXCEPT !.condition = "exists"],
           [Plain("put", 8, 8) EXCEPT !.condition = "etag_is", !.wantedEtag = 1],
           [Plain("put", 9, 9) EXCEPT !.condition = "etag_is_not", !.wantedEtag = 2],
           [Plain("put", 10, 10) EXCEPT !.condition = "generation_is", !.wantedGeneration = 2],
           [Plain("delete", 11, NoEtag) EXCEPT !.condition = "etag_is", !.wantedEtag = 3] }
    \cup { Versioned(Plain("put", w, w)) : w \in 12..13 }
    \cup { Versioned(Plain("mark", 15, NoEtag)), Plain("mark", 16, NoEtag),
           [Plain("amend", 18, NoEtag) EXCEPT !.version = 1, !.condition = "exists"],
           [Versioned(Plain("put", 19, 19)) EXCEPT !.condition = "absent"] }
    \cup { [Plain("delete", 20 + v, NoEtag) EXCEPT !.version = v] : v \in 1..2 }
=============================================================================
