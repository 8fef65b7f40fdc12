------------------------------ MODULE Register ------------------------------
(***************************************************************************)
(* One path's head, as a register replicated on a few nodes: a compare-    *)
(* and-set by quorum in the style of CASPaxos.  No log and no leader: any  *)
(* node may coordinate, a ballot decides between two that do so at once.   *)
(*                                                                         *)
(* This module holds the actions, and only them.  RegisterMC adds what a   *)
(* bounded model needs (clients, ghosts, invariants, bounds), and          *)
(* RegisterTrace replays what a cluster really did through these same      *)
(* actions.  impl/protocol has a function for each, with the same name.    *)
(*                                                                         *)
(* The network is part of the state, and as unkind as it may be.  A request*)
(* that was sent may arrive late, twice, out of order, or never: Promise   *)
(* and Accept are enabled for every ballot ever used, at any time and any  *)
(* number of times.  Of the replies from one acceptor to one coordinator   *)
(* only the last is kept, because a coordinator looks only at replies to   *)
(* its newest ballot; a lost reply is one that nobody looks at.            *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Node,          \* the nodes of the cluster: 1..N
    BallotBase,      \* a ballot is round * BallotBase + node, so N < BallotBase
    RecentMax      \* how many write ids a head remembers

VARIABLES
    group,         \* the register's replica set; no action changes it (a variable, so that one TLC replays many registers)
    promised,      \* [Node -> ballot]  durable: no lower ballot is accepted any more
    accepted,      \* [Node -> ballot]  durable: the ballot of `head`
    head,          \* [Node -> Head]    durable: the value accepted last
    used,          \* [Node -> ballot]  the highest ballot a coordinator ever used here; rounds are reserved durably in blocks
    proposed,      \* ballot -> [head, next]: every request to accept ever sent
    reply,         \* [Node -> [Node -> State]]: reply[c][r] is the last reply of acceptor r to coordinator c
    reads,         \* read id -> [replica -> set of what it told]: what each read was told so far
    disk           \* [Node -> Disk]: which disk each node is on, and whether it lost what it should have there (Healing)

vars == <<group, promised, accepted, head, used, proposed, reply, reads, disk>>

-----------------------------------------------------------------------------
(* Ballots.  None is below all; a claim has round 0, all others a round of at least 1. *)

None == 0
Owner(b) == b % BallotBase
Claiming(b) == None < b /\ b < BallotBase
Max(a, b) == IF a >= b THEN a ELSE b

(* Any write quorum and any read quorum share a node. *)
ReadQuorum == Cardinality(group.replicas) - group.writeQuorum + 1

-----------------------------------------------------------------------------
(* Heads, and what an operation makes of them: impl/protocol/change.py.                                               *)
(*                                                                                                                   *)
(* A head has the path's versions, oldest first; the last one is the current one.  A version is named by the          *)
(* generation that made it, or is the one null version, which the next write that makes no version of its own         *)
(* replaces.  So a path whose writes never make any has one version at most, and deleting it leaves a tombstone: a    *)
(* head without versions.  A version may be a delete marker, which says that the path is deleted and keeps what was   *)
(* there before.                                                                                                     *)

NoEtag == 0
NoWrite == 0
NullVersion == 0
NoHead == [generation |-> 0, versions |-> <<>>, recent |-> <<>>]
NoVersion == [id |-> NullVersion, deleted |-> TRUE, etag |-> NoEtag]

LastWrite(h) == IF h.recent = <<>> THEN NoWrite ELSE h.recent[Len(h.recent)]

Current(h) == IF h.versions = <<>> THEN NoVersion ELSE h.versions[Len(h.versions)]
Ids(h) == [i \in 1..Len(h.versions) |-> h.versions[i].id]
Has(h, id) == \E i \in 1..Len(h.versions) : h.versions[i].id = id
Named(h, id) == IF Has(h, id) THEN h.versions[CHOOSE i \in 1..Len(h.versions) : h.versions[i].id = id] ELSE NoVersion
Without(versions, id) == LET IsOther(version) == version.id # id IN SelectSeq(versions, IsOther)

(* A head that no write made: of a path that was never written, or of which nothing but its generations is known. *)
IsVacant(h) == h.versions = <<>> /\ h.recent = <<>>

(* What a read is told of the head: its etag, and whether it says that the path is deleted. *)
Etag(h) == Current(h).etag
Deleted(h) == h.generation > 0 /\ Current(h).deleted

(* A change is [operation, condition, wantedEtag, wantedGeneration, write, etag, versioned, version].  A put, and a  *)
(* mark, which puts a delete marker, make a version of their own if `versioned`, else the null version.  A delete     *)
(* removes the version that it names, and an amend changes what is said beside that one's body.                      *)
Makes(change) == change.operation \in {"put", "mark"}

(* The version that a precondition is about. *)
About(change, h) == IF change.operation \in {"delete", "amend"} THEN Named(h, change.version) ELSE Current(h)

Holds(change, h) ==
    LET version == About(change, h) IN
    CASE change.condition = "none"          -> TRUE
      [] change.condition = "absent"        -> version.deleted
      [] change.condition = "exists"        -> ~version.deleted
      [] change.condition = "etag_is"       -> ~version.deleted /\ version.etag = change.wantedEtag
      [] change.condition = "etag_is_not"   -> version.deleted \/ version.etag # change.wantedEtag
      [] change.condition = "generation_is" -> change.wantedGeneration = IF IsVacant(h) THEN 0 ELSE h.generation

Recorded(write, h) == write # NoWrite /\ \E i \in 1..Len(h.recent) : h.recent[i] = write

(* Idempotency comes before the precondition: a retry of a conditional write must find its own success. *)
Outcome(change, h) ==
    IF change.operation = "read" THEN "unchanged"
    ELSE IF Recorded(change.write, h) THEN "replayed"
    ELSE IF ~Holds(change, h) THEN "refused"
    ELSE IF ~Makes(change) /\ ~Has(h, change.version) THEN "unchanged"
    ELSE "applied"

Remember(recent, write) ==
    LET longer == Append(recent, write)
    IN  IF Len(longer) > RecentMax THEN Tail(longer) ELSE longer

(* The version that a put or a mark makes of a head. *)
Made(change, h) ==
    [id      |-> IF change.versioned THEN h.generation + 1 ELSE NullVersion,
     deleted |-> change.operation = "mark",
     etag    |-> IF change.operation = "mark" THEN NoEtag ELSE change.etag]

VersionsAfter(change, h) ==
    CASE change.operation = "amend"         -> h.versions
      [] change.operation = "delete"        -> Without(h.versions, change.version)
      [] Makes(change) /\ change.versioned  -> Append(h.versions, Made(change, h))
      [] Makes(change) /\ ~change.versioned -> Append(Without(h.versions, NullVersion), Made(change, h))

(* Whatever is not applied is proposed again unchanged: that is what makes its answer final. *)
Apply(change, h) ==
    IF Outcome(change, h) # "applied" THEN h
    ELSE [generation |-> h.generation + 1,
          versions   |-> VersionsAfter(change, h),
          recent     |-> Remember(h.recent, change.write)]

-----------------------------------------------------------------------------
(* Replies.  Whatever was asked, an acceptor answers with its state after the step.  So whoever accepted a request *)
(* that carried `next` has, with the same reply, promised `next`: the coordinator may propose again at once.       *)

NoReply == [promised |-> None, accepted |-> None, head |-> NoHead]

(* Of the counted replies, the head with the highest accepted ballot: the only one that may have been chosen.  If none *)
(* has accepted anything, their heads say how many generations were forgotten here (Healing), and the most are right.  *)
Older(one, other) ==
    \/ one.accepted < other.accepted
    \/ one.accepted = other.accepted /\ one.head.generation <= other.head.generation

Found(c, counted) ==
    LET r == CHOOSE r \in counted : \A s \in counted : Older(reply[c][s], reply[c][r])
    IN  reply[c][r].head

(* What an acceptor holds.  Where nothing is accepted, its head is none that it could tell anybody of. *)
Shown(r) == IF accepted[r] = None THEN NoHead ELSE head[r]

(* A node's life is on its first disk, or on its second one.  One that is `behind` lost what it had promised and       *)
(* accepted, and is not a voter until it is back; `met` are those who dropped what it told them in its life before.     *)
FirstDisk == [life |-> 1, behind |-> FALSE, met |-> {}]

MayVote(r) == r \in group.replicas /\ ~disk[r].behind

MetAll(n) == disk[n].met = Node \ {n}

InitWith(replicas, preferred, writeQuorum) ==
    /\ group = [replicas |-> replicas, preferred |-> preferred, writeQuorum |-> writeQuorum]
    /\ promised = [n \in Node |-> None]
    /\ accepted = [n \in Node |-> None]
    /\ head = [n \in Node |-> NoHead]
    /\ used = [n \in Node |-> None]
    /\ proposed = <<>>
    /\ reply = [c \in Node |-> [r \in Node |-> NoReply]]
    /\ reads = <<>>
    /\ disk = [n \in Node |-> FirstDisk]

-----------------------------------------------------------------------------
(* The coordinator's steps. *)

(* Begin an attempt at a fresh ballot.  Fresh over restarts too: else two proposals could share a ballot.  A node on   *)
(* another disk does not know which it used: it takes its rounds from others than each of its lives before.            *)
Prepare(c, b) ==
    /\ Owner(b) = c
    /\ ~Claiming(b)
    /\ b > used[c]
    /\ b \notin DOMAIN proposed
    /\ disk[c].behind => MetAll(c)
    /\ used' = [used EXCEPT ![c] = b]
    /\ UNCHANGED <<group, promised, accepted, head, proposed, reply, reads, disk>>

(* Propose, once a read quorum has promised this ballot: by answering a prepare, or by accepting with it as `next`. *)
(* A quorum, because only then no lower ballot can still be chosen behind our back; the head of the highest         *)
(* accepted ballot, because that one may be chosen already; once for each ballot, because a ballot names one head.   *)
Propose(c, b, next, counted, change) ==
    /\ b # None /\ b = used[c]
    /\ b \notin DOMAIN proposed
    /\ counted \subseteq group.replicas
    /\ Cardinality(counted) >= ReadQuorum
    /\ \A r \in counted : reply[c][r].promised = b
    /\ next = None \/ (Owner(next) = c /\ next > b)
    /\ proposed' = proposed @@ (b :> [head |-> Apply(change, Found(c, counted)), next |-> next])
    /\ used' = [used EXCEPT ![c] = Max(b, next)]
    /\ UNCHANGED <<group, promised, accepted, head, reply, reads, disk>>

(* The first proposal of a register, in one round trip.  Nothing is below the claim's ballot, so there is nothing a   *)
(* prepare could find.  That it is used only once is the work of the claimant's own acceptor: it accepts in the same  *)
(* durable step, from the virgin state, before anyone else is asked.  On another disk it does not know whether it did. *)
Claim(c, b, next, change) ==
    /\ c = group.preferred
    /\ Claiming(b) /\ Owner(b) = c
    /\ disk[c].life = 1
    /\ promised[c] = None
    /\ next = None \/ (Owner(next) = c /\ next > Max(b, used[c]))
    /\ proposed' = proposed @@ (b :> [head |-> Apply(change, NoHead), next |-> next])
    /\ promised' = [promised EXCEPT ![c] = Max(b, next)]
    /\ accepted' = [accepted EXCEPT ![c] = b]
    /\ head' = [head EXCEPT ![c] = Apply(change, NoHead)]
    /\ used' = [used EXCEPT ![c] = Max(@, Max(b, next))]
    /\ reply' = [reply EXCEPT ![c][c] = [promised |-> Max(b, next), accepted |-> b, head |-> Apply(change, NoHead)]]
    /\ UNCHANGED <<group, reads, disk>>

(* Answer the client: a write quorum has accepted, durably. *)
Acknowledge(c, b, counted) ==
    /\ b \in DOMAIN proposed
    /\ Owner(b) = c
    /\ counted \subseteq group.replicas
    /\ Cardinality(counted) >= group.writeQuorum
    /\ \A r \in counted : reply[c][r].accepted = b
    /\ UNCHANGED vars

-----------------------------------------------------------------------------
(* The acceptor's steps. *)

(* A reply that comes after its coordinator lost its disk is one to nobody. *)
Replied(r, b, state) == IF b <= used[Owner(b)] THEN [reply EXCEPT ![Owner(b)][r] = state] ELSE reply

(* Promise: from now on nothing below b is accepted here.  Of a coordinator that lost its disk, nobody knows what it   *)
(* asked for before.                                                                                                 *)
Promise(r, b) ==
    /\ MayVote(r)
    /\ b <= used[Owner(b)] \/ disk[Owner(b)].life > 1
    /\ b > promised[r]
    /\ promised' = [promised EXCEPT ![r] = b]
    /\ reply' = Replied(r, b, [promised |-> b, accepted |-> accepted[r], head |-> head[r]])
    /\ UNCHANGED <<group, accepted, head, used, proposed, reads, disk>>

(* Accept what was proposed at b, and promise with it whatever the proposal asked for next. *)
Accept(r, b) ==
    /\ MayVote(r)
    /\ b \in DOMAIN proposed
    /\ b >= promised[r]
    /\ promised' = [promised EXCEPT ![r] = Max(b, proposed[b].next)]
    /\ accepted' = [accepted EXCEPT ![r] = b]
    /\ head' = [head EXCEPT ![r] = proposed[b].head]
    /\ reply' = Replied(r, b, [promised |-> Max(b, proposed[b].next), accepted |-> b, head |-> proposed[b].head])
    /\ UNCHANGED <<group, used, proposed, reads, disk>>

(* Adopt what another replica has accepted: how one that was away catches up, without its coordinator and without a    *)
(* ballot of its own.  It is as if the request to accept had come late, and its reply were lost; so nobody may take it  *)
(* for a promise of `next`, and none is made.  Not below what is promised here, and so not below what is accepted: else *)
(* a repair undoes what came after, or accepts behind the back of whoever was promised that it cannot be.               *)
Adopt(r, b) ==
    /\ MayVote(r)
    /\ b \in DOMAIN proposed
    /\ promised[r] <= b
    /\ promised' = [promised EXCEPT ![r] = b]
    /\ accepted' = [accepted EXCEPT ![r] = b]
    /\ head' = [head EXCEPT ![r] = proposed[b].head]
    /\ UNCHANGED <<group, used, proposed, reply, reads, disk>>

(* Refuse, because something as high (to prepare) or higher (to accept) is promised; nothing changes. *)
Refuse(r, step, b) ==
    /\ MayVote(r)
    /\ b <= promised[r]
    /\ step = "accept" => b < promised[r]
    /\ UNCHANGED vars

(* Tell a read what is accepted here; where nothing is, the ballot below which nothing will be, and how many          *)
(* generations were.  A question that                                                                               *)
(* arrives twice is answered twice, perhaps with different words: either may be the answer that the read counts, as   *)
(* each was true after the read began.                                                                               *)
Told(r) ==
    [accepted   |-> accepted[r],
     promised   |-> IF accepted[r] = None THEN promised[r] ELSE None,
     generation |-> IF accepted[r] = None THEN head[r].generation ELSE 0]
ReportedTo(q, r) == { told.accepted : told \in reads[q][r] }
ToldBy(r, q) == IF q \in DOMAIN reads /\ r \in DOMAIN reads[q] THEN reads[q][r] ELSE {}

Report(r, q) ==
    /\ MayVote(r)
    /\ reads' = (q :> ((r :> ToldBy(r, q) \cup {Told(r)}) @@ (IF q \in DOMAIN reads THEN reads[q] ELSE <<>>))) @@ reads
    /\ UNCHANGED <<group, promised, accepted, head, used, proposed, reply, disk>>

(* A process dies and comes back: what was durable is as it was, and the replies it had collected are gone. *)
Restart(n) ==
    /\ reply' = [reply EXCEPT ![n] = [r \in Node |-> NoReply]]
    /\ UNCHANGED <<group, promised, accepted, head, used, proposed, reads, disk>>

-----------------------------------------------------------------------------
(* A read in one round trip: enough replicas report the same accepted ballot.  As many as a write quorum, so that its *)
(* head is chosen; as many as a read quorum, so that nothing newer can have been chosen before the read began.        *)
Read(q, counted, b) ==
    /\ q \in DOMAIN reads
    /\ counted \subseteq DOMAIN reads[q]
    /\ Cardinality(counted) >= Max(group.writeQuorum, ReadQuorum)
    /\ \A r \in counted : b \in ReportedTo(q, r)
    /\ UNCHANGED vars

HeadAt(b) == IF b = None THEN NoHead ELSE proposed[b].head
=============================================================================
