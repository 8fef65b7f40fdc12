-------------------------- MODULE RegisterCommute ---------------------------
(***************************************************************************)
(* Why one linear order of a trace's events is enough: events of different *)
(* nodes of which neither causes the other commute.  Any two linear orders *)
(* of a trace differ by such swaps of neighbours, so if one is accepted,   *)
(* all are.  Here TLC checks the swaps, in every state of a bounded model. *)
(*                                                                         *)
(* There are two copies of the register.  Both walk the same way, until    *)
(* one of them takes a step, `first`; then the other one takes what could  *)
(* come after it, `second`, before it; and then each takes what the other  *)
(* one took.  They must be able to, and meet again.                        *)
(*                                                                         *)
(* The lemma is about traces, so it needs what is true of them and not of  *)
(* Register, which allows more; the rules on causes check the first, nodes *)
(* keep to the others:                                                     *)
(*                                                                         *)
(*  - a promise answers a prepare;                                         *)
(*  - a coordinator acknowledges a proposal before it begins the next one; *)
(*  - after a restart it begins anew.                                      *)
(*                                                                         *)
(* A node that does otherwise may have a trace refused that another order  *)
(* of its events would have accepted.  Nothing is ever accepted wrongly, as*)
(* what is accepted is a behaviour of Register in an order that the trace  *)
(* allows.  Two states are the same if they differ only in replies that    *)
(* nobody will look at any more, by the same three rules.                  *)
(*                                                                         *)
(* What is done with the archive is in variables of its own, which each    *)
(* node changes for itself alone, and in facts that only grow: so it       *)
(* commutes with all of this (TieringTrace).  Where both meet, at Collect  *)
(* and Restart, they meet on one node.                                     *)
(***************************************************************************)
EXTENDS Healing

CONSTANTS
    Replicas, Preferred, WriteQuorum, Coordinators,
    Rounds,        \* the rounds that coordinators may prepare, besides the claim
    Reads,         \* how many quorum reads
    RestartMax,
    Heals,         \* whether replicas adopt what others have accepted
    Change,        \* what clients ask for
    Collects       \* whether replicas forget what is deleted, and hear of their slot's floor

VARIABLES
    promised2, accepted2, head2, used2, proposed2, reply2, reads2,   \* the second copy
    asked,         \* the ballots that were prepared
    lost,          \* [Node -> set of ballots]: what a coordinator forgot when it restarted
    restarts,
    first, second  \* the steps that are swapped; <<>> if none is yet

Other == INSTANCE Healing WITH
    promised <- promised2, accepted <- accepted2, head <- head2, used <- used2,
    proposed <- proposed2, reply <- reply2, reads <- reads2

copy == <<promised, accepted, head, used, proposed, reply, reads>>
copy2 == <<promised2, accepted2, head2, used2, proposed2, reply2, reads2>>
commuteVars == <<group, copy, copy2, asked, lost, restarts, first, second>>

Nothing == <<>>
Put == [operation |-> "put", condition |-> "none", wantedEtag |-> NoEtag, wantedGeneration |-> 0, write |-> 1, etag |-> 1,
        versioned |-> FALSE, version |-> NullVersion]
(* What leaves nothing behind: a head without versions may be forgotten. *)
Asking == [Put EXCEPT !.operation = "read", !.write = NoWrite, !.etag = NoEtag]

-----------------------------------------------------------------------------
(* Steps as values: <<what, node, parameters...>>. *)

OwnBallots(c) == { round * BallotBase + c : round \in Rounds }
Nexts(c) == {None} \cup OwnBallots(c)
Quorums(size) == { counted \in SUBSET Replicas : Cardinality(counted) >= size }

Steps ==
    { <<"Prepare", c, b>> : c \in Coordinators, b \in UNION { OwnBallots(c) : c \in Coordinators } }
    \cup { <<"Claim", c, next>> : c \in Coordinators, next \in UNION { Nexts(c) : c \in Coordinators } }
    \cup { <<"Propose", c, used[c], next, counted>> :
               c \in Coordinators, next \in UNION { Nexts(c) : c \in Coordinators }, counted \in Quorums(ReadQuorum) }
    \cup { <<"Acknowledge", c, b, counted>> :
               c \in Coordinators, b \in DOMAIN proposed, counted \in Quorums(group.writeQuorum) }
    \cup { <<"Promise", r, b>> : r \in Replicas, b \in asked }
    \cup { <<"Accept", r, b>> : r \in Replicas, b \in DOMAIN proposed }
    \cup { <<"Adopt", r, b>> : r \in IF Heals THEN Replicas ELSE {}, b \in DOMAIN proposed }
    \cup { <<"Refuse", r, "prepare", b>> : r \in Replicas, b \in asked }
    \cup { <<"Refuse", r, "accept", b>> : r \in Replicas, b \in DOMAIN proposed }
    \cup { <<"Report", r, q>> : r \in Replicas, q \in Reads }
    \cup { <<"Read", c, q, counted, b>> :
               c \in Coordinators, q \in Reads, counted \in Quorums(Max(group.writeQuorum, ReadQuorum)),
               b \in {None} \cup DOMAIN proposed }
    \cup { <<"Collect", r, q, accepted[r]>> : r \in IF Collects THEN Replicas ELSE {}, q \in Reads }
    \cup { <<"Floor", r, b>> : r \in IF Collects THEN Replicas ELSE {}, b \in asked }
    \cup { <<"Restart", n>> : n \in IF restarts < RestartMax THEN Replicas ELSE {} }

Do(s) ==
    \/ s[1] = "Prepare" /\ Prepare(s[2], s[3])
    \/ s[1] = "Claim" /\ Claim(s[2], s[2], s[3], Change)
    \/ s[1] = "Propose" /\ Propose(s[2], s[3], s[4], s[5], Change)
    \/ s[1] = "Acknowledge" /\ Acknowledge(s[2], s[3], s[4])
    \/ s[1] = "Promise" /\ Promise(s[2], s[3])
    \/ s[1] = "Accept" /\ Accept(s[2], s[3])
    \/ s[1] = "Adopt" /\ Adopt(s[2], s[3])
    \/ s[1] = "Refuse" /\ Refuse(s[2], s[3], s[4])
    \/ s[1] = "Report" /\ Report(s[2], s[3])
    \/ s[1] = "Read" /\ Read(s[3], s[4], s[5])
    \/ s[1] = "Collect" /\ Collect(s[2], s[3], s[4], group.replicas)
    \/ s[1] = "Floor" /\ Floor(s[2], s[3], 1)
    \/ s[1] = "Restart" /\ Restart(s[2])

OtherDo(s) ==
    \/ s[1] = "Prepare" /\ Other!Prepare(s[2], s[3])
    \/ s[1] = "Claim" /\ Other!Claim(s[2], s[2], s[3], Change)
    \/ s[1] = "Propose" /\ Other!Propose(s[2], s[3], s[4], s[5], Change)
    \/ s[1] = "Acknowledge" /\ Other!Acknowledge(s[2], s[3], s[4])
    \/ s[1] = "Promise" /\ Other!Promise(s[2], s[3])
    \/ s[1] = "Accept" /\ Other!Accept(s[2], s[3])
    \/ s[1] = "Adopt" /\ Other!Adopt(s[2], s[3])
    \/ s[1] = "Refuse" /\ Other!Refuse(s[2], s[3], s[4])
    \/ s[1] = "Report" /\ Other!Report(s[2], s[3])
    \/ s[1] = "Read" /\ Other!Read(s[3], s[4], s[5])
    \/ s[1] = "Collect" /\ Other!Collect(s[2], s[3], s[4], group.replicas)
    \/ s[1] = "Floor" /\ Other!Floor(s[2], s[3], 1)
    \/ s[1] = "Restart" /\ Other!Restart(s[2])

(* Which edges a trace has between events of different nodes: the [event.*.causes] of the manifest. *)
Causes(a, b) ==
    \/ a[1] = "Prepare" /\ b[1] = "Promise" /\ a[3] = b[3]
    \/ a[1] = "Prepare" /\ b[1] = "Refuse" /\ b[3] = "prepare" /\ a[3] = b[4]
    \/ a[1] \in {"Propose", "Claim"} /\ LET ballot == IF a[1] = "Claim" THEN a[2] ELSE a[3] IN
           \/ b[1] \in {"Accept", "Adopt"} /\ ballot = b[3]
           \/ b[1] = "Refuse" /\ b[3] = "accept" /\ ballot = b[4]
    \/ a[1] \in {"Promise", "Accept"} /\ b[1] = "Propose" /\ a[2] \in b[5]
           /\ b[3] = IF a[1] = "Promise" THEN a[3] ELSE proposed[a[3]].next
    \/ a[1] = "Accept" /\ b[1] = "Acknowledge" /\ a[2] \in b[4] /\ a[3] = b[3]
    \/ a[1] = "Report" /\ b[1] = "Read" /\ a[2] \in b[4] /\ a[3] = b[3]
    \/ a[1] = "Report" /\ b[1] = "Collect" /\ a[3] = b[3]

(* A coordinator that began nothing after proposing at b, in a copy with these. *)
StillAt(c, b, usedIn, proposedIn) ==
    usedIn[c] = Max(b, proposedIn[b].next) /\ proposedIn[b].next \notin DOMAIN proposedIn

(* What nodes keep to besides. *)
Allowed(s) ==
    /\ s[1] = "Propose" => s[3] \notin lost[s[2]]
    /\ s[1] = "Acknowledge" => s[3] \notin lost[s[2]] /\ StillAt(s[2], s[3], used, proposed)

(* So a reply is looked at again only if it is about what its coordinator is at. *)
Heard(c, said, usedIn, proposedIn) ==
    LET toPropose == said.promised = usedIn[c] /\ usedIn[c] \notin DOMAIN proposedIn \cup lost[c]
        toAcknowledge ==
            /\ said.accepted \in DOMAIN proposedIn /\ Owner(said.accepted) = c /\ said.accepted \notin lost[c]
            /\ StillAt(c, said.accepted, usedIn, proposedIn)
    IN  IF toPropose \/ toAcknowledge THEN said ELSE NoReply

Same ==
    /\ <<promised, accepted, head, used, proposed, reads>> = <<promised2, accepted2, head2, used2, proposed2, reads2>>
    /\ \A c, r \in Node : Heard(c, reply[c][r], used, proposed) = Heard(c, reply2[c][r], used2, proposed2)

-----------------------------------------------------------------------------
Init ==
    /\ InitWith(Replicas, Preferred, WriteQuorum)
    /\ Other!InitWith(Replicas, Preferred, WriteQuorum)
    /\ asked = {}
    /\ lost = [n \in Node |-> {}]
    /\ restarts = 0
    /\ first = Nothing
    /\ second = Nothing

Known(s) ==
    /\ asked' = IF s[1] = "Prepare" THEN asked \cup {s[3]} ELSE asked
    /\ lost' = IF s[1] = "Restart"
               THEN [lost EXCEPT ![s[2]] = { b \in {used[s[2]]} \cup DOMAIN proposed : Owner(b) = s[2] }]
               ELSE lost
    /\ restarts' = IF s[1] = "Restart" THEN restarts + 1 ELSE restarts

Walk ==
    /\ first = Nothing
    /\ \E s \in Steps : Allowed(s) /\ Do(s) /\ Known(s)
    /\ promised2' = promised' /\ accepted2' = accepted' /\ head2' = head' /\ used2' = used'
    /\ proposed2' = proposed' /\ reply2' = reply' /\ reads2' = reads'
    /\ UNCHANGED <<first, second>>

TakeFirst ==
    /\ first = Nothing
    /\ \E s \in Steps : Allowed(s) /\ Do(s) /\ Known(s) /\ first' = s
    /\ UNCHANGED <<copy2, second>>

(* Whichever is taken first, the other one has the same pair: so only one of both. *)
TakeSecond ==
    /\ first # Nothing /\ second = Nothing
    /\ \E s \in Steps : first[2] < s[2] /\ ~Causes(first, s) /\ Allowed(s) /\ OtherDo(s) /\ Known(s) /\ second' = s
    /\ UNCHANGED <<copy, first>>

Next == Walk \/ TakeFirst \/ TakeSecond

Spec == Init /\ [][Next]_commuteVars

-----------------------------------------------------------------------------
(* A step that did not cause another one did not enable it either. *)
EnabledWithout ==
    (first # Nothing /\ second = Nothing) =>
        \A s \in Steps :
            (s[2] # first[2] /\ ~Causes(first, s) /\ Allowed(s) /\ ENABLED Do(s)) => ENABLED OtherDo(s)

(* If either order is possible, then both are, and lead to the same. *)
Commute ==
    (second # Nothing /\ (ENABLED Do(second) \/ ENABLED OtherDo(first)))
        => ENABLED (Do(second) /\ OtherDo(first) /\ UNCHANGED lost /\ Same')
=============================================================================
