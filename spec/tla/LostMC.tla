------------------------------- MODULE LostMC -------------------------------
(***************************************************************************)
(* Bounded models of a lost disk, with the clients, ghosts and invariants  *)
(* of RegisterMC.  What an acceptor voted for stays in the ghosts when its *)
(* disk is gone: clients were told of it.                                  *)
(***************************************************************************)
EXTENDS HealingMC

CONSTANTS
    Losers,        \* the nodes that lose their disk, once each
    Gathers        \* whether they come back by what others have told, too, and not by a promise alone

(* Each node that comes back asks what the others have in a question of its own. *)
Question(n) == 100 + n

MCLose(n) ==
    /\ disk[n].life = 1
    /\ Lose(n)
    /\ UNCHANGED ghosts

MCMeet(c, n) ==
    /\ c \notin disk[n].met
    /\ Meet(c, n)
    /\ UNCHANGED ghosts

MCRejoin(r, counted) ==
    /\ Rejoin(r, used[r], counted)
    /\ votes' = [votes EXCEPT ![r] = @ \cup ({accepted'[r]} \ {None})]
    /\ UNCHANGED <<lineage, floors, begun, told, answers, readFloor, readAnswers, collected, restarts>>

MCGather(n) ==
    /\ Gathers
    /\ Gather(n, Question(n))
    /\ UNCHANGED ghosts

MCTell(s, n) ==
    /\ s # n
    /\ Question(n) \in DOMAIN reads
    /\ ToldBy(s, Question(n)) = {}
    /\ Report(s, Question(n))
    /\ UNCHANGED ghosts

MCBack(n, counted) ==
    /\ Back(n, Question(n), counted)
    /\ UNCHANGED ghosts

ComesBack ==
    \/ \E n \in Losers : MCLose(n) \/ MCGather(n)
    \/ \E n \in Losers, c \in Node : MCMeet(c, n) \/ MCTell(c, n)
    \/ \E n \in Losers, counted \in SUBSET Replicas : MCRejoin(n, counted) \/ MCBack(n, counted)

LostSpec == MCInit /\ [][MCNext \/ ComesBack]_allVars

(* No fast path, no quorum larger than it need be; and the losers serve no clients, but come back. *)
DuelNext ==
    \/ \E c \in Coordinators, b \in Ballots : MCPrepare(c, b)
    \/ \E n \in Losers, b \in Ballots : disk[n].behind /\ MCPrepare(n, b)
    \/ \E c \in Coordinators, change \in Changes, counted \in Enough(ReadQuorum) : MCPropose(c, counted, change, None)
    \/ \E c \in Coordinators, b \in DOMAIN proposed, counted \in Enough(WriteQuorum) : MCAcknowledge(c, b, counted)
    \/ \E r \in Replicas, b \in Ballots : MCPromise(r, b)
    \/ \E r \in Replicas, b \in DOMAIN proposed : MCAccept(r, b)
    \/ \E q \in ReadIds : MCReadBegins(q) \/ \E r \in Replicas : MCReport(r, q)
    \/ \E q \in ReadIds, b \in {None} \cup DOMAIN proposed, counted \in Enough(Max(WriteQuorum, ReadQuorum)) :
           MCRead(q, counted, b)

DuelSpec == MCInit /\ [][DuelNext \/ ComesBack]_allVars
ForgottenSpec == HealInit /\ [][HealNext \/ ComesBack]_allVars

-----------------------------------------------------------------------------
(* The ballots of a node that claims and loses its disk, and of another one that writes. *)
LostBallots == { Ballot(1, 2), Ballot(2, 1) }
DuelBallots == { Ballot(1, 1), Ballot(1, 2), Ballot(1, 3) }
LostReadBallots == { Ballot(1, 1), Ballot(1, 2) }
TwoPuts == { Plain("put", 1, 1), Plain("put", 2, 2) }
OneOfEach == { Plain("put", 1, 1), Plain("read", NoWrite, NoEtag) }
=============================================================================
