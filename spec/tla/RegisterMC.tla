----------------------------- MODULE RegisterMC -----------------------------
(***************************************************************************)
(* A bounded model of Register: a few clients' operations, every           *)
(* interleaving, loss, duplication and reordering of messages, and crashes.*)
(* What the actions do is in Register; here are the clients, the ghosts    *)
(* that remember what was promised to them, and what must always hold.     *)
(*                                                                         *)
(* Each invariant below is refuted by at least one broken twin             *)
(* (spec/twins/register.toml), so each is evidence.                        *)
(*                                                                         *)
(* Distinct states (checked by `checker model`) are in the .cfg headers.   *)
(***************************************************************************)
EXTENDS Healing

CONSTANTS
    Replicas, Preferred, WriteQuorum,
    Coordinators,   \* the nodes that serve clients in this model
    Changes,        \* what clients may ask for, any of them again and anywhere: retries are how floors become known
    ReadIds,        \* how many quorum reads
    Ballots,        \* the ballots that coordinators may use besides the claim: what bounds the model
    RestartMax,     \* bound on crashes
    Heals,          \* whether replicas adopt what others have accepted
    Collects,       \* whether replicas forget what is deleted
    Floors          \* how many generations were forgotten of other paths of the slot

VARIABLES
    votes,          \* [Node -> set of ballots]: all that an acceptor ever accepted
    lineage,        \* ballot -> the writes, in order, that led to the head proposed at it
    floors,         \* ballot -> generation: what clients had been told when the operation proposed at it began
    begun,          \* [Node -> generation]: the same, for the coordinator's newest attempt
    told,           \* the highest generation that any client was told, by an acknowledgement or a read
    answers,        \* set of acknowledgements [ballot, generation]
    readFloor,      \* read id -> what clients had been told when the read began
    readAnswers,    \* read id -> [ballot, generation]
    collected,      \* the lineages of what was forgotten
    restarts

ghosts == <<votes, lineage, floors, begun, told, answers, readFloor, readAnswers, collected, restarts>>
allVars == <<vars, ghosts>>

Ballot(round, c) == round * BallotBase + c
Chosen(b) == Cardinality({ r \in group.replicas : b \in votes[r] }) >= group.writeQuorum
IsPrefix(s, t) == Len(s) <= Len(t) /\ \A i \in 1..Len(s) : s[i] = t[i]

MCInit ==
    /\ InitWith(Replicas, Preferred, WriteQuorum)
    /\ votes = [n \in Node |-> {}]
    /\ lineage = <<>>
    /\ floors = <<>>
    /\ begun = [n \in Node |-> 0]
    /\ told = 0
    /\ answers = {}
    /\ readFloor = <<>>
    /\ readAnswers = <<>>
    /\ collected = {}
    /\ restarts = 0

-----------------------------------------------------------------------------
NextBallots(c, b) == {None} \cup { n \in Ballots : Owner(n) = c /\ n > b }

MCPrepare(c, b) ==
    /\ Prepare(c, b)
    /\ begun' = [begun EXCEPT ![c] = told]
    /\ UNCHANGED <<votes, lineage, floors, told, answers, readFloor, readAnswers, collected, restarts>>

(* The ghosts of a proposal: what the head it was made from was, and what came of the change. *)
Extended(line, change, result) == IF result = "applied" THEN Append(line, change) ELSE line
FoundBallot(c, counted) ==
    LET r == CHOOSE r \in counted : \A s \in counted : reply[c][s].accepted <= reply[c][r].accepted
    IN  reply[c][r].accepted

(* What was forgotten is a gap in the line, as long as the generations that are known to have been. *)
Gap == [operation |-> "gap", condition |-> "none", wantedEtag |-> NoEtag, wantedGeneration |-> 0,
        write |-> NoWrite, etag |-> NoEtag, versioned |-> FALSE, version |-> NullVersion]
GapOf(line) == Cardinality({ i \in 1..Len(line) : line[i] = Gap })
LineFound(c, counted) ==
    LET ballot == FoundBallot(c, counted)
    IN  IF ballot = None THEN [i \in 1..Found(c, counted).generation |-> Gap] ELSE lineage[ballot]

(* On the fast path nothing was asked before the proposal, so the operation begins with it. *)
MCPropose(c, counted, change, next) ==
    LET b == used[c]
        line == LineFound(c, counted)
        fast == \E earlier \in DOMAIN proposed : proposed[earlier].next = b
    IN
    /\ counted # {}
    /\ Propose(c, b, next, counted, change)
    /\ lineage' = lineage @@ (b :> Extended(line, change, Outcome(change, Found(c, counted))))
    /\ floors' = floors @@ (b :> IF fast THEN told ELSE begun[c])
    /\ UNCHANGED <<votes, begun, told, answers, readFloor, readAnswers, collected, restarts>>

MCClaim(c, change, next) ==
    /\ Claim(c, c, next, change)
    /\ lineage' = lineage @@ (c :> Extended(<<>>, change, Outcome(change, NoHead)))
    /\ floors' = floors @@ (c :> told)
    /\ votes' = [votes EXCEPT ![c] = @ \cup {c}]
    /\ UNCHANGED <<begun, told, answers, readFloor, readAnswers, collected, restarts>>

MCAcknowledge(c, b, counted) ==
    LET generation == proposed[b].head.generation IN
    /\ \A a \in answers : a.ballot # b
    /\ Acknowledge(c, b, counted)
    /\ answers' = answers \cup {[ballot |-> b, generation |-> generation]}
    /\ told' = Max(told, generation)
    /\ UNCHANGED <<votes, lineage, floors, begun, readFloor, readAnswers, collected, restarts>>

MCPromise(r, b) ==
    /\ Promise(r, b)
    /\ UNCHANGED ghosts

MCAccept(r, b) ==
    /\ Accept(r, b)
    /\ votes' = [votes EXCEPT ![r] = @ \cup {b}]
    /\ UNCHANGED <<lineage, floors, begun, told, answers, readFloor, readAnswers, collected, restarts>>

MCAdopt(r, b) ==
    /\ Heals
    /\ accepted[r] # b
    /\ \E other \in Replicas \ {r} : accepted[other] = b
    /\ Adopt(r, b)
    /\ votes' = [votes EXCEPT ![r] = @ \cup {b}]
    /\ UNCHANGED <<lineage, floors, begun, told, answers, readFloor, readAnswers, collected, restarts>>

(* Whoever forgets looks at the answers to any question of the model: what they say is as true for all. *)
MCCollect(r, q, counted) ==
    /\ Collects
    /\ Collect(r, q, accepted[r], counted)
    /\ collected' = collected \cup {lineage[accepted[r]]}
    /\ UNCHANGED <<votes, lineage, floors, begun, told, answers, readFloor, readAnswers, restarts>>

(* A floor that says nothing new is left out. *)
MCFloor(r, b, generation) ==
    /\ generation > head[r].generation
    /\ Floor(r, b, generation)
    /\ UNCHANGED ghosts

(* Reads are told apart by when they began; one begins only when the one before it has, which loses no generality. *)
MCReadBegins(q) ==
    /\ q \notin DOMAIN readFloor
    /\ \A earlier \in ReadIds : earlier < q => earlier \in DOMAIN readFloor
    /\ readFloor' = readFloor @@ (q :> told)
    /\ UNCHANGED <<vars, votes, lineage, floors, begun, told, answers, readAnswers, collected, restarts>>

(* One question of a read is answered twice at most: more of the same, for many more states. *)
MCReport(r, q) ==
    /\ q \in DOMAIN readFloor
    /\ q \notin DOMAIN readAnswers
    /\ ToldBy(r, q) # {} => \A other \in Replicas : Cardinality(ToldBy(other, q)) <= 1
    /\ Report(r, q)
    /\ UNCHANGED ghosts

(* Whoever finds nothing knows of all that was deleted and forgotten by then. *)
Gone == CHOOSE n \in {0} \cup { Len(line) : line \in collected } : \A line \in collected : Len(line) <= n

MCRead(q, counted, b) ==
    /\ q \notin DOMAIN readAnswers
    /\ Read(q, counted, b)
    /\ readAnswers' = readAnswers @@ (q :> [ballot |-> b, generation |-> IF b = None THEN Gone ELSE HeadAt(b).generation])
    /\ told' = Max(told, HeadAt(b).generation)
    /\ UNCHANGED <<votes, lineage, floors, begun, answers, readFloor, collected, restarts>>

MCRestart(n) ==
    /\ restarts < RestartMax
    /\ Restart(n)
    /\ restarts' = restarts + 1
    /\ UNCHANGED <<votes, lineage, floors, begun, told, answers, readFloor, readAnswers, collected>>

MCNext ==
    \/ \E c \in Coordinators, b \in Ballots : MCPrepare(c, b)
    \/ \E c \in Coordinators, change \in Changes : \E next \in NextBallots(c, used[c]) :
           MCClaim(c, change, next) \/ \E counted \in SUBSET Replicas : MCPropose(c, counted, change, next)
    \/ \E c \in Coordinators, b \in DOMAIN proposed, counted \in SUBSET Replicas : MCAcknowledge(c, b, counted)
    \/ \E r \in Replicas, b \in Ballots : MCPromise(r, b)
    \/ \E r \in Replicas, b \in DOMAIN proposed : MCAccept(r, b) \/ MCAdopt(r, b)
    \/ \E r \in Replicas, q \in ReadIds, counted \in SUBSET Replicas : MCCollect(r, q, counted)
    \/ \E r \in Replicas, b \in Ballots, generation \in Floors : MCFloor(r, b, generation)
    \/ \E n \in Replicas \cup Coordinators : MCRestart(n)
    \/ \E q \in ReadIds : MCReadBegins(q) \/ \E r \in Replicas : MCReport(r, q)
    \/ \E q \in ReadIds, counted \in SUBSET Replicas, b \in {None} \cup DOMAIN proposed : MCRead(q, counted, b)

MCSpec == MCInit /\ [][MCNext]_allVars

-----------------------------------------------------------------------------
(* An acceptor keeps its word, and what it holds is what was proposed at that ballot. *)
PromiseKept == \A r \in group.replicas : accepted[r] <= promised[r]

OneHeadABallot == \A r \in group.replicas : accepted[r] # None => head[r] = proposed[accepted[r]].head

(* A chosen head is part of every later proposal's past: nothing chosen is ever overwritten unseen.  Or it is the past   *)
(* of something that was forgotten, and the later one goes on after it, above all its generations.                    *)
Past(line, later) ==
    \/ IsPrefix(line, later)
    \/ \E forgotten \in collected : IsPrefix(line, forgotten) /\ Len(forgotten) <= GapOf(later)

Agreement ==
    \A b \in DOMAIN proposed : Chosen(b) =>
        \A later \in DOMAIN proposed : later > b => Past(lineage[b], lineage[later])

(* Generations are 1, 2, 3... along the writes of a head, and what was forgotten before them. *)
GenerationChain == \A b \in DOMAIN proposed : proposed[b].head.generation = Len(lineage[b])

(* What a client was told is chosen, so no minority of replicas holds it alone; with Agreement it survives. *)
AcknowledgedIsChosen == \A a \in answers : Chosen(a.ballot)

(* An answer is never older than what any client had been told before the operation began. *)
AnswersAreFresh == \A a \in answers : a.generation >= floors[a.ballot]

ReadsAreChosen == \A q \in DOMAIN readAnswers : readAnswers[q].ballot = None \/ Chosen(readAnswers[q].ballot)

ReadsAreFresh == \A q \in DOMAIN readAnswers : readAnswers[q].generation >= readFloor[q]

(* A write id takes effect once, however often and wherever it is retried: within what a head remembers, and until it  *)
(* is deleted and forgotten.                                                                                          *)
WritesOnce ==
    \A b \in DOMAIN proposed : \A i, j \in 1..Len(lineage[b]) :
        (i # j /\ lineage[b][i] # Gap) => lineage[b][i].write # lineage[b][j].write

(* What a line of writes leaves of versions, said without their order of steps: a version is there from the write that *)
(* made it until a delete names it, or, of null versions, another one is made.                                       *)
IdOf(line, i) == IF line[i].versioned THEN i ELSE NullVersion

Survives(line, i, last) ==
    /\ Makes(line[i])
    /\ \A j \in (i + 1)..last :
           /\ ~(line[j].operation = "delete" /\ line[j].version = IdOf(line, i))
           /\ ~(Makes(line[j]) /\ IdOf(line, j) = IdOf(line, i))

Surviving(line, last) == { i \in 1..last : Survives(line, i, last) }

VersionsAreExact ==
    \A b \in DOMAIN proposed :
        LET line == lineage[b]
            made == Surviving(line, Len(line))
            Place(i) == Cardinality({ j \in made : j <= i })
            versions == proposed[b].head.versions
        IN  /\ Len(versions) = Cardinality(made)
            /\ \A i \in made :
                   /\ versions[Place(i)].id = IdOf(line, i)
                   /\ versions[Place(i)].deleted = (line[i].operation = "mark")
                   /\ ~versions[Place(i)].deleted => versions[Place(i)].etag = line[i].etag

(* What is forgotten is what nothing is left of. *)
ForgottenWasDeleted == \A line \in collected : Surviving(line, Len(line)) = {}

(* What a write asks for holds of the version that it is about, when it takes effect: of the newest one, or of the one *)
(* that it names.  0 is for none.                                                                                     *)
AskedOf(line, i) ==
    LET made == { j \in Surviving(line, i - 1) : Makes(line[i]) \/ IdOf(line, j) = line[i].version }
    IN  IF made = {} THEN 0 ELSE CHOOSE j \in made : \A other \in made : other <= j

ConditionsAreExact ==
    \A b \in DOMAIN proposed : \A i \in 1..Len(lineage[b]) :
        LET change == lineage[b][i]
            of == AskedOf(lineage[b], i)
            was == of > 0 /\ lineage[b][of].operation = "put"
        IN  /\ change.condition = "absent" => ~was
            /\ change.condition = "exists" => was
            /\ change.condition = "etag_is" => was /\ lineage[b][of].etag = change.wantedEtag
            /\ change.condition = "etag_is_not" => ~was \/ lineage[b][of].etag # change.wantedEtag
            /\ change.condition = "generation_is" =>
                   change.wantedGeneration = IF i - 1 = GapOf(lineage[b]) THEN 0 ELSE i - 1

-----------------------------------------------------------------------------
(* The ballots and the operations of the models. *)
ThreeBallots == { Ballot(1, 1), Ballot(1, 2), Ballot(2, 1) }
RaceBallots == { Ballot(1, 1), Ballot(1, 2) }
ReadBallots == { Ballot(1, 2) }
OwnBallots == { Ballot(1, 1), Ballot(2, 1) }

Plain(operation, write, etag) ==
    [operation |-> operation, condition |-> "none", wantedEtag |-> NoEtag, wantedGeneration |-> 0,
     write |-> write, etag |-> etag, versioned |-> FALSE, version |-> NullVersion]
Versioned(change) == [change EXCEPT !.versioned = TRUE]

OneWrite == { Plain("put", 1, 1), Plain("read", NoWrite, NoEtag) }
TwoWrites == { Plain("put", 1, 1), [Plain("put", 2, 2) EXCEPT !.condition = "absent"] }
WriteAndDelete == { Plain("put", 1, 1), Plain("delete", 2, NoEtag), [Plain("put", 3, 3) EXCEPT !.condition = "absent"] }
Versions ==
    { Versioned(Plain("put", 1, 1)), Versioned(Plain("put", 2, 2)),
      [Plain("delete", 3, NoEtag) EXCEPT !.version = 1, !.condition = "etag_is", !.wantedEtag = 1] }
NullVersions == { Plain("put", 1, 1), Plain("mark", 2, NoEtag), Versioned(Plain("put", 3, 3)) }
Replacing == { Plain("put", 1, 1), [Plain("put", 2, 2) EXCEPT !.condition = "etag_is", !.wantedEtag = 1] }
=============================================================================
