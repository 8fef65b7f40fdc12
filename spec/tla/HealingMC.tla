----------------------------- MODULE HealingMC ------------------------------
(***************************************************************************)
(* Bounded models of forgetting, with the clients, ghosts and invariants   *)
(* of RegisterMC.  They begin where it gets interesting: an object was     *)
(* written, by the claim; one coordinator proposed to overwrite it, but a  *)
(* deletion by another one overtook that; and replicas have heard of some. *)
(* From there a third coordinator does one more thing to the path, while   *)
(* replicas tell a read what they hold, forget, and get old requests late  *)
(* and twice.                                                              *)
(***************************************************************************)
EXTENDS RegisterMC

CONSTANTS
    Answers,       \* whether the read is answered, besides that replicas look at what it was told
    Apart          \* whether replicas have heard of different things

Claimed == Ballot(0, 1)
Rival == Ballot(1, 1)
Deleting == Ballot(1, 2)
After == Ballot(1, 3)

Written == Plain("put", 1, 1)
Rewritten == Plain("put", 4, 4)
Deletion == Plain("delete", 2, NoEtag)
Object == Apply(Written, NoHead)
Overwrite == Apply(Rewritten, Object)
Tombstone == Apply(Deletion, Object)

Earlier == (Claimed :> Object) @@ (Rival :> Overwrite) @@ (Deleting :> Tombstone)

(* What replicas have heard of: the first of the deletion, the second one perhaps only of its prepare; and the third one *)
(* of anything, be it nothing, or a write that the deletion overtook.                                                  *)
Heard(r) ==
    CASE r = 1 -> { <<Deleting, Deleting>> }
      [] r > 1 /\ ~Apart -> { <<Deleting, Deleting>> }
      [] r = 2 -> { <<Deleting, Deleting>>, <<Deleting, Claimed>> }
      [] r = 3 -> { <<None, None>>, <<Deleting, None>>, <<Claimed, Claimed>>, <<Rival, Rival>>, <<Deleting, Deleting>> }

HealInit ==
    /\ group = [replicas |-> Replicas, preferred |-> Preferred, writeQuorum |-> WriteQuorum]
    /\ \E second \in Heard(2), third \in Heard(3) :
           LET heard == << <<Deleting, Deleting>>, second, third >> IN
           /\ promised = [r \in Replicas |-> heard[r][1]]
           /\ accepted = [r \in Replicas |-> heard[r][2]]
           /\ head = [r \in Replicas |-> IF heard[r][2] = None THEN NoHead ELSE Earlier[heard[r][2]]]
           /\ reply = [c \in Node |-> [r \in Node |->
                          IF c = Owner(Deleting) /\ heard[r][2] = Deleting
                          THEN [promised |-> Deleting, accepted |-> Deleting, head |-> Tombstone]
                          ELSE NoReply]]
           /\ votes = [r \in Replicas |-> { b \in {Claimed, heard[r][2]} : b <= heard[r][2] } \ {None}]
    /\ used = [n \in Node |-> IF n = Owner(Rival) THEN Rival ELSE IF n = Owner(Deleting) THEN Deleting ELSE None]
    /\ proposed = [b \in DOMAIN Earlier |-> [head |-> Earlier[b], next |-> None]]
    /\ reads = <<>>
    /\ disk = [n \in Node |-> FirstDisk]
    /\ lineage = (Claimed :> <<Written>>) @@ (Rival :> <<Written, Rewritten>>) @@ (Deleting :> <<Written, Deletion>>)
    /\ floors = [b \in DOMAIN Earlier |-> 0]
    /\ begun = [n \in Node |-> 0]
    /\ told = 0
    /\ answers = {}
    /\ readFloor = <<>>
    /\ readAnswers = <<>>
    /\ collected = {}
    /\ restarts = 0

(* A quorum larger than it need be is left out, as a coordinator goes on as soon as it has one. *)
Enough(size) == { counted \in SUBSET Replicas : Cardinality(counted) = size }

Ask(q) == MCReadBegins(q) \/ \E r \in Replicas : ToldBy(r, q) = {} /\ MCReport(r, q)

HealNext ==
    \/ \E c \in Coordinators, b \in Ballots : MCPrepare(c, b)
    \/ \E c \in Coordinators, change \in Changes, counted \in Enough(ReadQuorum) : MCPropose(c, counted, change, None)
    \/ \E b \in {Deleting, After} \cap DOMAIN proposed, counted \in Enough(WriteQuorum) : MCAcknowledge(Owner(b), b, counted)
    \/ \E r \in Replicas, b \in Ballots : MCPromise(r, b)
    \/ \E r \in Replicas, b \in DOMAIN proposed : MCAccept(r, b)
    \/ \E r \in Replicas, b \in {Claimed, After}, generation \in Floors : MCFloor(r, b, generation)
    \/ \E q \in ReadIds : Ask(q) \/ \E r \in Replicas, counted \in SUBSET Replicas : MCCollect(r, q, counted)
    \/ \E q \in ReadIds, b \in {None} \cup DOMAIN proposed, counted \in Enough(Max(WriteQuorum, ReadQuorum)) :
           Answers /\ MCRead(q, counted, b)

HealSpec == HealInit /\ [][HealNext]_allVars

JustAfter == { After }
OnlyPut == { Plain("put", 3, 3) }
PutOrRead == { Plain("put", 3, 3), Plain("read", NoWrite, NoEtag) }
=============================================================================
