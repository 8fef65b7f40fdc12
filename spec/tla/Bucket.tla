------------------------------- MODULE Bucket -------------------------------
(***************************************************************************)
(* DeleteBucket beside writes. A bucket and each of its objects are        *)
(* registers of their own, and only one register at a time is exact        *)
(* (Register.tla); nothing is atomic over two of them. So each side says   *)
(* what it is about to do, and looks afterwards whether the other said     *)
(* something too: Dekker's idea, with conditional writes for the tie.      *)
(*                                                                         *)
(* A step that is never taken is a crash: there are no locks to be left,   *)
(* only a mark, which the next write takes away.                           *)
(*                                                                         *)
(* The code is impl/api/s3/bucket_guard.py.                                *)
(***************************************************************************)
EXTENDS Naturals

CONSTANTS
    Writer,     \* those who each write one object
    Deleter,    \* those who delete the bucket
    Key,
    KeyOf(_)    \* the key that a writer writes

VARIABLES
    bucket,     \* [live, marked, etag, creation]; an etag is a number that was never used before, and so is a creation
    object,     \* [Key -> [live, generation]]
    writer,     \* [Writer -> [step, generation, seen, creation]]: seen, the etag of the mark that it found; creation, of
                \* the bucket that it began with
    deleter     \* [Deleter -> [step, mark, listed]]: listed, the keys that it has looked at and found absent

vars == <<bucket, object, writer, deleter>>

Init ==
    /\ bucket = [live |-> TRUE, marked |-> FALSE, etag |-> 1, creation |-> 1]
    /\ object = [k \in Key |-> [live |-> FALSE, generation |-> 0]]
    /\ writer = [w \in Writer |-> [step |-> "idle", generation |-> 0, seen |-> 0, creation |-> 0]]
    /\ deleter = [d \in Deleter |-> [step |-> "idle", mark |-> 0, listed |-> {}]]

Rewritten(marked) == [bucket EXCEPT !.marked = marked, !.etag = @ + 1]

Create ==
    /\ ~bucket.live
    /\ bucket' = [live |-> TRUE, marked |-> FALSE, etag |-> bucket.etag + 1, creation |-> bucket.creation + 1]
    /\ UNCHANGED <<object, writer, deleter>>

(* A client deletes an object. A tombstone keeps no bucket alive, so there is nothing to look at afterwards. *)
Remove(k) ==
    /\ bucket.live
    /\ object[k].live
    /\ object' = [object EXCEPT ![k] = [live |-> FALSE, generation |-> @.generation + 1]]
    /\ UNCHANGED <<bucket, writer, deleter>>

-----------------------------------------------------------------------------
(* A write. *)
Begin(w) ==
    /\ writer[w].step = "idle"
    /\ bucket.live
    /\ writer' = [writer EXCEPT ![w].step = "begun", ![w].creation = bucket.creation]
    /\ UNCHANGED <<bucket, object, deleter>>

Write(w) ==
    LET generation == object[KeyOf(w)].generation + 1 IN
    /\ writer[w].step = "begun"
    /\ object' = [object EXCEPT ![KeyOf(w)] = [live |-> TRUE, generation |-> generation]]
    /\ writer' = [writer EXCEPT ![w].step = "written", ![w].generation = generation]
    /\ UNCHANGED <<bucket, deleter>>

(* What a write that finds its bucket without a mark says. In a bucket that was made again it must not say that it is *)
(* there: one that found no bucket may have overwritten it, and take both back. Nor can it take itself back: it may     *)
(* have overwritten what was acknowledged in the new bucket. So it says that it does not know.                          *)
Told(w) == IF bucket.creation = writer[w].creation THEN "acknowledged" ELSE "unknown"

(* The second read. Without a mark, whoever deletes the bucket marks it later, and then lists what is written here. *)
Look(w) ==
    /\ writer[w].step = "written"
    /\ writer' = [writer EXCEPT
           ![w].step = IF ~bucket.live THEN "gone" ELSE IF bucket.marked THEN "marked" ELSE Told(w),
           ![w].seen = bucket.etag]
    /\ UNCHANGED <<bucket, object, deleter>>

(* Whoever made the mark may have listed before the write: without its mark it cannot delete. *)
Unmark(w) ==
    LET met == bucket.live /\ bucket.etag = writer[w].seen IN
    /\ writer[w].step = "marked"
    /\ bucket' = IF met THEN Rewritten(FALSE) ELSE bucket
    /\ writer' = [writer EXCEPT ![w].step = IF met THEN Told(w) ELSE "written"]
    /\ UNCHANGED <<object, deleter>>

(* Conditional: in a bucket that was made again meanwhile, somebody else may have written there. *)
TakeBack(w) ==
    LET k == KeyOf(w)
        met == object[k].live /\ object[k].generation = writer[w].generation
    IN
    /\ writer[w].step = "gone"
    /\ object' = IF met THEN [object EXCEPT ![k] = [live |-> FALSE, generation |-> @.generation + 1]] ELSE object
    /\ writer' = [writer EXCEPT ![w].step = "refused"]
    /\ UNCHANGED <<bucket, deleter>>

-----------------------------------------------------------------------------
(* DeleteBucket. *)
Mark(d) ==
    LET mark == IF bucket.marked THEN bucket.etag ELSE bucket.etag + 1 IN
    /\ deleter[d].step = "idle"
    /\ bucket.live
    /\ bucket' = IF bucket.marked THEN bucket ELSE Rewritten(TRUE)
    /\ deleter' = [deleter EXCEPT ![d] = [step |-> "listing", mark |-> mark, listed |-> {}]]
    /\ UNCHANGED <<object, writer>>

(* A list is no snapshot: it looks at one key after the other. *)
List(d, k) ==
    /\ deleter[d].step = "listing"
    /\ k \notin deleter[d].listed
    /\ deleter' = [deleter EXCEPT
           ![d].step = IF object[k].live THEN "not empty" ELSE "listing",
           ![d].listed = @ \cup {k}]
    /\ UNCHANGED <<bucket, object, writer>>

Keep(d) ==
    /\ deleter[d].step = "not empty"
    /\ bucket' = IF bucket.live /\ bucket.etag = deleter[d].mark THEN Rewritten(FALSE) ELSE bucket
    /\ deleter' = [deleter EXCEPT ![d] = [step |-> "idle", mark |-> 0, listed |-> {}]]
    /\ UNCHANGED <<object, writer>>

Delete(d) ==
    /\ deleter[d].step = "listing"
    /\ deleter[d].listed = Key
    /\ bucket' = IF bucket.live /\ bucket.etag = deleter[d].mark THEN [bucket EXCEPT !.live = FALSE, !.marked = FALSE]
                 ELSE bucket
    /\ deleter' = [deleter EXCEPT ![d] = [step |-> "idle", mark |-> 0, listed |-> {}]]
    /\ UNCHANGED <<object, writer>>

Next ==
    \/ Create
    \/ \E k \in Key : Remove(k)
    \/ \E w \in Writer : Begin(w) \/ Write(w) \/ Look(w) \/ Unmark(w) \/ TakeBack(w)
    \/ \E d \in Deleter : Mark(d) \/ Keep(d) \/ Delete(d) \/ \E k \in Key : List(d, k)

Spec == Init /\ [][Next]_vars
=============================================================================
