------------------------------ MODULE Healing -------------------------------
(***************************************************************************)
(* How replicas forget what is deleted, and nothing comes back.            *)
(*                                                                         *)
(* A tombstone must be kept as long as a replica may hold something older, *)
(* or may yet accept it; else that comes back.  When no replica can, each  *)
(* one forgets it for itself.                                              *)
(*                                                                         *)
(* What it must not forget with it is its promise, below which nothing is  *)
(* accepted, and how far the generations went: else an old request brings  *)
(* back what was deleted, and a new object's generations begin again at 1, *)
(* where conditions, version ids and the archive take them for old ones.   *)
(* A node does not keep these path by path, which would be as much as the  *)
(* tombstones: it keeps the highest of each in the slot (`Floor`).         *)
(*                                                                         *)
(* Adopt, how a replica that was away catches up, is in Register, as it is *)
(* a late Accept.                                                          *)
(***************************************************************************)
EXTENDS Register

(* Nothing is there, and this many generations were. *)
Vacant(generation) == [NoHead EXCEPT !.generation = generation]

(* The replica told the read that it holds what was accepted at b, or nothing, and that it accepts nothing older. *)
HoldsNothingElse(s, q, b) ==
    \E told \in reads[q][s] : told.accepted = b \/ (told.accepted = None /\ told.promised >= b)

(* Forget a head without versions, when the replicas have told a read, each of them, that they hold the very same, or  *)
(* that they hold nothing and promised to accept nothing older.  All of them, as one that did not tell may hold what    *)
(* was deleted; and the same ballot, as two heads may share a generation.  What they told may be long past: what they   *)
(* hold and promise since is only newer.                                                                              *)
Collect(r, q, b, counted) ==
    /\ r \in group.replicas
    /\ b # None
    /\ accepted[r] = b
    /\ head[r].versions = <<>>
    /\ counted = group.replicas
    /\ q \in DOMAIN reads
    /\ counted \subseteq DOMAIN reads[q]
    /\ \A s \in counted : HoldsNothingElse(s, q, b)
    /\ accepted' = [accepted EXCEPT ![r] = None]
    /\ head' = [head EXCEPT ![r] = Vacant(head[r].generation)]
    /\ UNCHANGED <<group, promised, used, proposed, reply, reads>>

(* Where nothing is held, what the slot's floor says holds: it has risen with what was forgotten of other paths.  To    *)
(* promise more, and to leave generations out, is always safe.                                                        *)
Floor(r, b, generation) ==
    /\ r \in group.replicas
    /\ b # None
    /\ accepted[r] = None
    /\ b >= promised[r]
    /\ generation >= head[r].generation
    /\ promised' = [promised EXCEPT ![r] = b]
    /\ head' = [head EXCEPT ![r] = Vacant(generation)]
    /\ UNCHANGED <<group, accepted, used, proposed, reply, reads>>
=============================================================================
