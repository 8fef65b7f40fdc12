------------------------------ MODULE Tiering ------------------------------
(***************************************************************************)
(* One path's object in the archive: a store outside, behind the cluster,  *)
(* that fails, lags and loses answers.  Whoever ships reads the head by a  *)
(* quorum, looks at what the archive holds, and sends the head there to    *)
(* take the place of what it saw, on the condition that it is still that.  *)
(* Any node may ship, and two may at once.                                 *)
(*                                                                         *)
(* The archive knows an object by the etag of its bytes, and the same bytes*)
(* may come again.  So the condition of a request that was long under way  *)
(* may hold by accident, and an old body take the place of a new one that  *)
(* has the bytes of a still older one.  Hence a body may go from the disks *)
(* only when what is on record is settled: no older request can be alive.  *)
(* A request's life begins with the reading of its head and not with the   *)
(* look: who read a head long ago and looks only now is of the past, too.  *)
(*                                                                         *)
(* This module holds the actions, and only them; they touch what one node  *)
(* knows, and facts that are known to all who were told.  TieringMC adds   *)
(* the archive, the requests and the register, TieringTrace replays what   *)
(* nodes really did.  impl/protocol/tiering.py has the same names.         *)
(***************************************************************************)
EXTENDS Integers

VARIABLES
    looked,        \* [node -> Look]        the node's last look, until what came of it is sent
    shipping,      \* [node -> generation]  what it has sent and has no answer to; 0 for nothing
    knows,         \* [node -> generation]  what the archive holds, by the node's last look or answer
    archived,      \* [node -> generation]  durable: what the archive is on record to hold, or something newer
    settled,       \* [node -> BOOLEAN]     durable: no request of an older generation is alive any more
    sent,          \* the generations of all bodies ever sent: what an object of ours may be
    said           \* [generation, settled]: all that any node has put on record, and may tell the others

tieringVars == <<looked, shipping, knows, archived, settled, sent, said>>

-----------------------------------------------------------------------------
NoObject == [present |-> FALSE, generation |-> 0, etag |-> 0]

(* A look: at a head [generation, deleted, etag], as read, and an object [present, generation, etag], as found; with  *)
(* what was on record then.                                                                                          *)
NoLook == [head |-> [generation |-> 0, deleted |-> FALSE, etag |-> 0], found |-> NoObject, record |-> 0]

(* What a look shows the archive to hold.  A stranger's object is of generation 0.  For a head that is deleted, there  *)
(* is nothing to be held, so nothing is just that; for any other one, nothing may be anything that was deleted.       *)
Shows(look) ==
    IF look.found.present THEN look.found.generation ELSE IF look.head.deleted THEN look.head.generation ELSE 0

(* What the archive is asked to make sure of: that it is still what was seen. *)
Unchanged(found) ==
    IF found.present THEN [kind |-> "etag_is", etag |-> found.etag] ELSE [kind |-> "absent", etag |-> 0]

TieringInit(nodes) ==
    /\ looked = [n \in nodes |-> NoLook]
    /\ shipping = [n \in nodes |-> 0]
    /\ knows = [n \in nodes |-> 0]
    /\ archived = [n \in nodes |-> 0]
    /\ settled = [n \in nodes |-> FALSE]
    /\ sent = {}
    /\ said = {}

-----------------------------------------------------------------------------
(* Look at the archive, with the head as a quorum told it before.  An object that says it is of one of our generations *)
(* was sent by one of us.  A look gives up whatever this node is still waiting for: that answer may never come.        *)
Look(n, head, found) ==
    /\ head.generation > 0
    /\ found.present = (found.etag # 0)
    /\ found.generation > 0 => found.present
    /\ found.generation > 0 => found.generation \in sent
    /\ looked' = [looked EXCEPT ![n] = [head |-> head, found |-> found, record |-> archived[n]]]
    /\ shipping' = [shipping EXCEPT ![n] = 0]
    /\ knows' = [knows EXCEPT ![n] = Shows([head |-> head, found |-> found])]
    /\ UNCHANGED <<archived, settled, sent, said>>

(* Send the head that was read: over something older only, and on the condition that this is still what was seen.  A    *)
(* look is good for one request: after that, only another look can say whether it came.                               *)
Ship(n, condition) ==
    /\ looked[n].head.generation > looked[n].found.generation
    /\ looked[n].head.deleted => looked[n].found.present
    /\ condition = Unchanged(looked[n].found)
    /\ shipping' = [shipping EXCEPT ![n] = looked[n].head.generation]
    /\ sent' = IF looked[n].head.deleted THEN sent ELSE sent \cup {looked[n].head.generation}
    /\ looked' = [looked EXCEPT ![n] = NoLook]
    /\ UNCHANGED <<knows, archived, settled, said>>

(* The archive answers that it did what was asked. *)
Shipped(n, generation) ==
    /\ generation > 0
    /\ generation = shipping[n]
    /\ shipping' = [shipping EXCEPT ![n] = 0]
    /\ knows' = [knows EXCEPT ![n] = generation]
    /\ UNCHANGED <<looked, archived, settled, sent, said>>

-----------------------------------------------------------------------------
(* Put on record what the archive holds, by an answer, by a look, or because another node says that it has it on       *)
(* record.  Before the first generation there was none, so nothing older can be alive; and what is settled once is so  *)
(* for all, as nothing older is ever sent again.  A record only grows: what is told may be told late.                  *)
Confirm(n, generation, by, isSettled) ==
    /\ by = "told" => [generation |-> generation, settled |-> isSettled] \in said
    /\ by # "told" => generation = knows[n]
    /\ by # "told" => isSettled = (generation = 1)
    /\ generation > archived[n] \/ (generation = archived[n] /\ isSettled /\ ~settled[n])
    /\ archived' = [archived EXCEPT ![n] = generation]
    /\ settled' = [settled EXCEPT ![n] = isSettled]
    /\ said' = said \cup {[generation |-> generation, settled |-> isSettled]}
    /\ UNCHANGED <<looked, shipping, knows, sent>>

(* Another look, a request's longest life after what is on record was put there: whatever was read before is dead, and  *)
(* the archive still holds it.  So it does from now on.                                                              *)
Settle(n, generation, waited) ==
    /\ waited
    /\ generation > 0
    /\ generation = archived[n]
    /\ ~settled[n]
    /\ Shows(looked[n]) = generation
    /\ looked[n].record = generation
    /\ settled' = [settled EXCEPT ![n] = TRUE]
    /\ said' = said \cup {[generation |-> generation, settled |-> TRUE]}
    /\ UNCHANGED <<looked, shipping, knows, archived, sent>>

(* The archive holds something older, or nothing: an old request came after all.  The head is to be shipped again. *)
Doubt(n) ==
    /\ looked[n] # NoLook
    /\ Shows(looked[n]) < archived[n]
    /\ archived' = [archived EXCEPT ![n] = 0]
    /\ settled' = [settled EXCEPT ![n] = FALSE]
    /\ UNCHANGED <<looked, shipping, knows, sent, said>>

(* The body of the head that this replica has accepted may go from its disk.  Something newer in the archive will do:   *)
(* only what a quorum has agreed on is ever shipped, so nobody asks for this one any more.                            *)
Evict(n, generation) ==
    /\ archived[n] >= generation
    /\ settled[n]
    /\ UNCHANGED tieringVars

(* A replica forgets a head without versions (Collect of Healing), and with it what is on record.  Then nobody is left  *)
(* to ship the deletion again, so it must be in the archive for good: what a late request put back would stay there.    *)
(* Where nothing is on record, either nothing was ever written, of generation 0, or the path does not go to the archive. *)
ForgetRecord(n, generation, isTiered) ==
    /\ archived[n] = 0 => (generation = 0 \/ ~isTiered)
    /\ archived[n] > 0 => archived[n] >= generation
    /\ archived[n] > 0 => settled[n]
    /\ archived' = [archived EXCEPT ![n] = 0]
    /\ settled' = [settled EXCEPT ![n] = FALSE]
    /\ UNCHANGED <<looked, shipping, knows, sent, said>>

(* Tell the client of a write-through that its write is done. *)
Answer(n, generation) ==
    /\ knows[n] >= generation
    /\ UNCHANGED tieringVars

(* A process dies and comes back: what is on record is there, what it was about is not. *)
Forget(n) ==
    /\ looked' = [looked EXCEPT ![n] = NoLook]
    /\ shipping' = [shipping EXCEPT ![n] = 0]
    /\ knows' = [knows EXCEPT ![n] = 0]
    /\ UNCHANGED <<archived, settled, sent, said>>

(* A node's disk is lost, and what was on record there with it: it looks at the archive again. *)
ForgetAll(n) ==
    /\ looked' = [looked EXCEPT ![n] = NoLook]
    /\ shipping' = [shipping EXCEPT ![n] = 0]
    /\ knows' = [knows EXCEPT ![n] = 0]
    /\ archived' = [archived EXCEPT ![n] = 0]
    /\ settled' = [settled EXCEPT ![n] = FALSE]
    /\ UNCHANGED <<sent, said>>
=============================================================================
