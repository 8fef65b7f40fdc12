------------------------------ MODULE BucketMC ------------------------------
(***************************************************************************)
(* A bounded model of Bucket: every order of the steps of a few clients.   *)
(* `removed` remembers what clients deleted, so that what is missing then  *)
(* is not called lost.                                                     *)
(***************************************************************************)
EXTENDS Bucket

CONSTANTS
    EtagMax         \* how often the bucket's register may be written: what bounds the model

VARIABLE removed    \* [Key -> the generation of the client's last DeleteObject]

allVars == <<vars, removed>>

\* The writers are numbers; odd ones share the first key.
OneKey(w) == 1
TwoKeys(w) == 1 + (w % 2)

MCInit == Init /\ removed = [k \in Key |-> 0]

MCRemove(k) == Remove(k) /\ removed' = [removed EXCEPT ![k] = object[k].generation + 1]

MCNext ==
    \/ \E k \in Key : MCRemove(k)
    \/ UNCHANGED removed /\
         ( \/ Create
           \/ \E w \in Writer : Begin(w) \/ Write(w) \/ Look(w) \/ Unmark(w) \/ TakeBack(w)
           \/ \E d \in Deleter : Mark(d) \/ Keep(d) \/ Delete(d) \/ \E k \in Key : List(d, k) )

MCSpec == MCInit /\ [][MCNext]_allVars

Bounded == bucket.etag <= EtagMax

-----------------------------------------------------------------------------
(* What was acknowledged, and that no client deleted since, is there, and its bucket too. *)
NothingLost ==
    \A w \in Writer :
        (writer[w].step = "acknowledged" /\ writer[w].generation > removed[KeyOf(w)])
            => bucket.live /\ object[KeyOf(w)].live

(* What is left in a bucket that is gone, somebody is about to take back. *)
GoneIsEmpty ==
    ~bucket.live => \A k \in Key : object[k].live =>
        \E w \in Writer :
            /\ KeyOf(w) = k
            /\ writer[w].generation = object[k].generation
            /\ writer[w].step \in {"written", "marked", "gone"}
=============================================================================
