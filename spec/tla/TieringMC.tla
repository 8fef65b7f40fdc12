----------------------------- MODULE TieringMC -----------------------------
(***************************************************************************)
(* A bounded model of Tiering: the archive, the requests to it, which may  *)
(* land late, once or never, and whose answers may be lost; restarts; and  *)
(* the register, as a sequence of heads that are chosen one after the      *)
(* other and lie on some of the nodes.  What is deleted is forgotten when  *)
(* every node has it or has forgotten it: that nothing older comes back to *)
(* the register then, and that generations go on, is HealingMC's to show.  *)
(*                                                                         *)
(* There is no clock.  That a request dies is said by what has to be dead  *)
(* when a node settles: each round (a head that was read, a look, the      *)
(* request that came of it) knows who has put something on record since it *)
(* began, and none that knows of n may be left when n takes the look by    *)
(* which it settles.  Any of them may die at any time.  So this is so for  *)
(* all times, of requests and of waiting, that keep to this order.         *)
(*                                                                         *)
(* Distinct states (checked by `checker model`) are in the .cfg headers.   *)
(***************************************************************************)
EXTENDS Tiering, Sequences, FiniteSets

CONSTANTS
    Node,
    Shippers,      \* the nodes that ship in this model
    Placed,        \* sets of replicas: where the body of a head may lie when it is chosen
    Heads,         \* the heads that are chosen, in order: etags, Deleted for one that has no body
    Found,         \* what the archive may hold before all else
    RequestMax,    \* bound on requests under way
    Tells,         \* whether nodes tell each other
    Restarts,      \* whether nodes restart
    Answers,       \* whether clients of a write-through wait
    Collects       \* whether nodes hear of deletions, and forget them

VARIABLES
    newest,        \* the generation of the newest chosen head
    has,           \* [Node -> generation]: of the head that the replica has accepted
    evicted,       \* [Node -> BOOLEAN]: whether its body is gone from this replica
    forgot,        \* [Node -> generation]: of the last tombstone that the replica has forgotten
    archive,       \* the object, or NoObject
    requests,      \* those under way
    round,         \* [Node -> [generation, since]]: a head that was read; since, who has put something on record since then
    calm,          \* [Node -> BOOLEAN]: when it looked, was nothing alive from before its record?
    reached,       \* the highest generation that the archive ever held
    undone,        \* whether something newer was replaced, and not because its bytes are those that were seen
    early          \* whether a client of a write-through was told of what the archive had not held by then

ghosts == <<newest, has, evicted, forgot, archive, requests, round, calm, reached, undone, early>>
allVars == <<tieringVars, ghosts>>

Deleted == 0
IsDeleted(generation) == generation > 0 /\ Heads[generation] = Deleted
HeadOf(generation) == [generation |-> generation, deleted |-> IsDeleted(generation), etag |-> Heads[generation]]
Object(generation, etag) == [present |-> TRUE, generation |-> generation, etag |-> etag]

NoRound == [generation |-> 0, since |-> {}]
Max(a, b) == IF a >= b THEN a ELSE b
Highest(generations) == CHOOSE g \in generations : \A other \in generations : other <= g

(* What is in the archive; nothing is what every deleted head has there. *)
Held(object, upTo) ==
    IF object.present THEN object.generation ELSE Highest({0} \cup { g \in 1..upTo : IsDeleted(g) })

MCInit ==
    /\ TieringInit(Node)
    /\ newest = 0
    /\ has = [n \in Node |-> 0]
    /\ evicted = [n \in Node |-> FALSE]
    /\ forgot = [n \in Node |-> 0]
    /\ archive \in Found
    /\ requests = {}
    /\ round = [n \in Node |-> NoRound]
    /\ calm = [n \in Node |-> FALSE]
    /\ reached = 0
    /\ undone = FALSE
    /\ early = FALSE

-----------------------------------------------------------------------------
(* The next head is chosen, and accepted with its body by some. *)
Write(replicas) ==
    /\ newest < Len(Heads)
    /\ newest' = newest + 1
    /\ has' = [n \in Node |-> IF n \in replicas THEN newest + 1 ELSE has[n]]
    /\ evicted' = [n \in Node |-> evicted[n] /\ n \notin replicas]
    /\ reached' = IF Answers THEN Max(reached, Held(archive, newest + 1)) ELSE reached
    /\ UNCHANGED <<tieringVars, forgot, archive, requests, round, calm, undone, early>>

(* A quorum read, or the acknowledgement of a write: the newest head, when it began.  What all have forgotten, nobody   *)
(* reads.                                                                                                             *)
ReadHead(n) ==
    /\ newest > 0
    /\ \E m \in Node : has[m] = newest
    /\ round[n] = NoRound
    /\ round' = [round EXCEPT ![n] = [generation |-> newest, since |-> {}]]
    /\ UNCHANGED <<tieringVars, newest, has, evicted, forgot, archive, requests, calm, reached, undone, early>>

Waits(n) == archived[n] > 0 /\ ~settled[n]

(* Whether anything is alive that began before n put its record there. *)
AliveBefore(n) ==
    \/ \E m \in Node : n \in round[m].since
    \/ \E r \in requests : n \in r.since

MCLook(n) ==
    /\ round[n] # NoRound
    /\ looked[n] = NoLook
    /\ Look(n, HeadOf(round[n].generation), archive)
    /\ calm' = [calm EXCEPT ![n] = Waits(n) /\ ~AliveBefore(n)]
    /\ UNCHANGED <<newest, has, evicted, forgot, archive, requests, round, reached, undone, early>>

(* A round ends: there is nothing to do, it is too old, or what it was for is done. *)
GiveUp(n) ==
    /\ round[n] # NoRound
    /\ round' = [round EXCEPT ![n] = NoRound]
    /\ calm' = [calm EXCEPT ![n] = FALSE]
    /\ looked' = [looked EXCEPT ![n] = NoLook]
    /\ UNCHANGED <<shipping, knows, archived, settled, sent, said>>
    /\ UNCHANGED <<newest, has, evicted, forgot, archive, requests, reached, undone, early>>

MCShip(n) ==
    /\ Cardinality(requests) < RequestMax
    /\ round[n] # NoRound
    /\ looked[n] # NoLook
    /\ Ship(n, Unchanged(looked[n].found))
    /\ requests' = requests \cup
           {[by |-> n, head |-> looked[n].head, seen |-> looked[n].found, condition |-> Unchanged(looked[n].found),
             since |-> round[n].since]}
    /\ round' = [round EXCEPT ![n] = NoRound]
    /\ calm' = [calm EXCEPT ![n] = FALSE]
    /\ UNCHANGED <<newest, has, evicted, forgot, archive, reached, undone, early>>

(* The archive does what it is asked to, if what it has is as the request wants it. *)
Meets(condition) ==
    CASE condition.kind = "absent"  -> ~archive.present
      [] condition.kind = "etag_is" -> archive.present /\ archive.etag = condition.etag
      [] condition.kind = "none"    -> TRUE

SameBytes(object, other) == object.present = other.present /\ object.etag = other.etag

Done(r) ==
    LET object == IF r.head.deleted THEN NoObject ELSE Object(r.head.generation, r.head.etag) IN
    /\ Meets(r.condition)
    /\ archive' = object
    /\ requests' = requests \ {r}
    /\ reached' = IF Answers THEN Max(reached, Held(object, newest)) ELSE reached
    /\ undone' = (undone \/ (Held(archive, newest) > r.head.generation
                               /\ ~(SameBytes(r.seen, archive) /\ r.seen.generation < r.head.generation)))
    /\ UNCHANGED <<newest, has, evicted, forgot, round, calm, early>>

(* The answer is lost, or comes.  What its sender makes of it may take as long as it likes. *)
Land(r) ==
    /\ Done(r)
    /\ UNCHANGED tieringVars

LandAndAnswer(r) ==
    /\ Done(r)
    /\ Shipped(r.by, r.head.generation)

(* It is refused, lost, or too old to be taken. *)
Expire(r) ==
    /\ requests' = requests \ {r}
    /\ UNCHANGED <<tieringVars, newest, has, evicted, forgot, archive, round, calm, reached, undone, early>>

(* Whatever is alive is from before the record that n has now; if it need not wait, that does not matter. *)
NoteRecord(n, waits) ==
    /\ round' = [m \in Node |->
           IF round[m] = NoRound THEN NoRound ELSE [round[m] EXCEPT !.since = IF waits THEN @ \cup {n} ELSE @ \ {n}]]
    /\ requests' = { [r EXCEPT !.since = IF waits THEN @ \cup {n} ELSE @ \ {n}] : r \in requests }
    /\ calm' = [calm EXCEPT ![n] = FALSE]

MCConfirm(n, generation, by, isSettled) ==
    /\ by = "told" => Tells
    /\ Confirm(n, generation, by, isSettled)
    /\ NoteRecord(n, ~isSettled)
    /\ UNCHANGED <<newest, has, evicted, forgot, archive, reached, undone, early>>

MCSettle(n) ==
    /\ Settle(n, archived[n], calm[n])
    /\ NoteRecord(n, FALSE)
    /\ UNCHANGED <<newest, has, evicted, forgot, archive, reached, undone, early>>

MCDoubt(n) ==
    /\ Doubt(n)
    /\ NoteRecord(n, FALSE)
    /\ UNCHANGED <<newest, has, evicted, forgot, archive, reached, undone, early>>

MCEvict(n) ==
    /\ has[n] > 0
    /\ ~IsDeleted(has[n])
    /\ ~evicted[n]
    /\ Evict(n, has[n])
    /\ evicted' = [evicted EXCEPT ![n] = TRUE]
    /\ UNCHANGED <<newest, has, forgot, archive, requests, round, calm, reached, undone, early>>

MCAnswer(n, generation) ==
    /\ Answers
    /\ Answer(n, generation)
    /\ early' = (early \/ generation > reached)
    /\ UNCHANGED <<newest, has, evicted, forgot, archive, requests, round, calm, reached, undone>>

(* A replica that was away hears of a deletion. *)
MCAdopt(n) ==
    /\ Collects
    /\ IsDeleted(newest)
    /\ has[n] < newest
    /\ forgot[n] < newest
    /\ \E m \in Node : has[m] = newest
    /\ has' = [has EXCEPT ![n] = newest]
    /\ evicted' = [evicted EXCEPT ![n] = FALSE]
    /\ UNCHANGED <<tieringVars, newest, forgot, archive, requests, round, calm, reached, undone, early>>

MCCollect(n) ==
    /\ Collects
    /\ IsDeleted(has[n])
    /\ \A m \in Node : Max(has[m], forgot[m]) >= has[n]
    /\ ForgetRecord(n, has[n], TRUE)
    /\ has' = [has EXCEPT ![n] = 0]
    /\ forgot' = [forgot EXCEPT ![n] = has[n]]
    /\ NoteRecord(n, FALSE)
    /\ UNCHANGED <<newest, evicted, archive, reached, undone, early>>

MCRestart(n) ==
    /\ Restarts
    /\ Forget(n)
    /\ round' = [round EXCEPT ![n] = NoRound]
    /\ calm' = [calm EXCEPT ![n] = FALSE]
    /\ UNCHANGED <<newest, has, evicted, forgot, archive, requests, reached, undone, early>>

MCNext ==
    \/ \E replicas \in Placed : Write(replicas)
    \/ \E r \in requests : Land(r) \/ LandAndAnswer(r) \/ Expire(r)
    \/ \E n \in Shippers : ReadHead(n)
    \/ \E n \in Node :
           \/ MCLook(n) \/ GiveUp(n) \/ MCShip(n)
           \/ MCSettle(n) \/ MCDoubt(n) \/ MCEvict(n) \/ MCAdopt(n) \/ MCCollect(n) \/ MCRestart(n)
           \/ \E generation \in 1..newest :
                  \/ MCAnswer(n, generation)
                  \/ \E by \in {"ship", "told"}, isSettled \in BOOLEAN : MCConfirm(n, generation, by, isSettled)

MCSpec == MCInit /\ [][MCNext]_allVars

-----------------------------------------------------------------------------
(* The newest body is on a disk, or in the archive. *)
NothingLost ==
    newest > 0 /\ ~IsDeleted(newest) =>
        \/ \E n \in Node : has[n] = newest /\ ~evicted[n]
        \/ archive.present /\ archive.etag = Heads[newest]

(* What is newer is undone only by the accident that its bytes are those of something older, which was seen. *)
NothingUndone == ~undone

(* When the client of a write-through is told, the archive has held its generation, or a newer one. *)
AnsweredIsArchived == ~early

(* The archive holds this generation or a newer one for good: nobody can put anything older there any more. *)
IsFinal(generation) ==
    /\ Held(archive, newest) >= generation
    /\ \A r \in requests : r.head.generation >= generation
    /\ \A n \in Node : round[n] # NoRound => round[n].generation >= generation

EvictedOnlySettled == \A n \in Node : evicted[n] => IsFinal(has[n])

SettledIsFinal == \A n \in Node : settled[n] => IsFinal(archived[n])

(* What is forgotten is gone from the archive for good: there is nobody who would ship its deletion once more. *)
ForgottenIsFinal == \A n \in Node : forgot[n] > 0 => IsFinal(forgot[n])

(* When all is said and done, the archive holds the newest head and nothing else. *)
ConvergesWhenQuiet ==
    (newest > 0 /\ requests = {} /\ \A n \in Node : archived[n] = newest /\ settled[n]) =>
        archive = IF IsDeleted(newest) THEN NoObject ELSE Object(newest, Heads[newest])

-----------------------------------------------------------------------------
SameBytesAgain == <<1, 2, 1>>
DeletedAndAgain == <<1, Deleted, 1>>
WrittenAndDeleted == <<1, Deleted>>
GoneInTheEnd == <<1, 2, Deleted>>
(* What nothing depends on any more makes no other state. *)
View ==
    <<looked, shipping, knows, archived, settled, newest, has, evicted, forgot, archive, requests, round, calm, undone, early,
      IF Tells THEN said ELSE {}, IF Answers THEN reached ELSE 0>>

OtherBytesThenTheirs == <<2, 1>>
OnOne == {{1}}
OnSome == {{1}, {2}, {1, 2}}
Nothing == {NoObject}
Anothers == {Object(0, 1)}
=============================================================================
