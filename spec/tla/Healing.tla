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
    /\ MayVote(r)
    /\ b # None
    /\ accepted[r] = b
    /\ head[r].versions = <<>>
    /\ counted = group.replicas
    /\ q \in DOMAIN reads
    /\ counted \subseteq DOMAIN reads[q]
    /\ \A s \in counted : HoldsNothingElse(s, q, b)
    /\ accepted' = [accepted EXCEPT ![r] = None]
    /\ head' = [head EXCEPT ![r] = Vacant(head[r].generation)]
    /\ UNCHANGED <<group, promised, used, proposed, reply, reads, disk>>

(* Where nothing is held, what the slot's floor says holds: it has risen with what was forgotten of other paths.  To    *)
(* promise more, and to leave generations out, is always safe.                                                        *)
Floor(r, b, generation) ==
    /\ MayVote(r)
    /\ b # None
    /\ accepted[r] = None
    /\ b >= promised[r]
    /\ generation >= head[r].generation
    /\ promised' = [promised EXCEPT ![r] = b]
    /\ head' = [head EXCEPT ![r] = Vacant(generation)]
    /\ UNCHANGED <<group, accepted, used, proposed, reply, reads, disk>>
-----------------------------------------------------------------------------
(* How a node comes back that lost its disk.  It has forgotten what it promised and accepted, so it is no acceptor any *)
(* more; and yet its word may be on its way to a coordinator that counts it.  First, all others drop what it ever told *)
(* them.  Then whatever was decided with the help of its word is on the others' disks: it asks as many of them as have *)
(* one in common with each quorum that it was in, takes over what they have, and is a voter again.                    *)

(* A node's disk is lost, and it begins another life on an empty one. *)
Lose(n) ==
    /\ disk' = [disk EXCEPT ![n] = [life |-> @.life + 1, behind |-> TRUE, met |-> {}]]
    /\ promised' = [promised EXCEPT ![n] = None]
    /\ accepted' = [accepted EXCEPT ![n] = None]
    /\ head' = [head EXCEPT ![n] = NoHead]
    /\ used' = [used EXCEPT ![n] = None]
    /\ reply' = [reply EXCEPT ![n] = [r \in Node |-> NoReply]]
    /\ UNCHANGED <<group, proposed, reads>>

(* Another node hears of it, and drops what it was told by it: promises above all, which are not kept any more. *)
Meet(c, n) ==
    /\ c # n
    /\ disk[n].behind
    /\ disk' = [disk EXCEPT ![n].met = @ \cup {c}]
    /\ reply' = [reply EXCEPT ![c][n] = NoReply]
    /\ UNCHANGED <<group, promised, accepted, head, used, proposed, reads>>

(* As many others as share one with each quorum of writers, and with each of readers, that the node was in. *)
EnoughOthers == Max(group.writeQuorum, ReadQuorum)

(* What the others have of a path: they promise the node's own ballot, and the one accepted highest is accepted here.  *)
(* Without that promise, something lower could still be chosen, in the course of which this node had promised not to   *)
(* accept what it accepts now.                                                                                        *)
Rejoin(r, b, counted) ==
    /\ r \in group.replicas
    /\ disk[r].behind
    /\ MetAll(r)
    /\ b # None /\ b = used[r]
    /\ counted \subseteq group.replicas \ {r}
    /\ Cardinality(counted) >= EnoughOthers
    /\ \A s \in counted : reply[r][s].promised = b
    /\ \E s \in counted :
           /\ \A other \in counted : Older(reply[r][other], reply[r][s])
           /\ accepted' = [accepted EXCEPT ![r] = reply[r][s].accepted]
           /\ head' = [head EXCEPT ![r] = reply[r][s].head]
    /\ promised' = [promised EXCEPT ![r] = b]
    /\ disk' = [disk EXCEPT ![r].behind = FALSE]
    /\ UNCHANGED <<group, used, proposed, reply, reads>>

(* Begin to ask the others what they have, once all have met.  They answer as they do to a read (Report). *)
Gather(n, q) ==
    /\ disk[n].behind
    /\ MetAll(n)
    /\ q \notin DOMAIN reads
    /\ reads' = (q :> <<>>) @@ reads
    /\ UNCHANGED <<group, promised, accepted, head, used, proposed, reply, disk>>

(* A path of which enough others said that they have nothing: neither has this node, and no more is promised, or was   *)
(* forgotten, than they told.  A node without a replica has nothing to catch up with.                                 *)
Tolds(n, q, counted) == UNION { reads[q][s] : s \in counted \cap (group.replicas \ {n}) }
Most(numbers) == CHOOSE b \in numbers : \A other \in numbers : other <= b

Back(n, q, counted) ==
    /\ disk[n].behind
    /\ MetAll(n)
    /\ n \in group.replicas => q \in DOMAIN reads
    /\ n \in group.replicas => counted \cap (group.replicas \ {n}) \subseteq DOMAIN reads[q]
    /\ n \in group.replicas => Cardinality(counted \cap (group.replicas \ {n})) >= EnoughOthers
    /\ n \in group.replicas => \A said \in Tolds(n, q, counted) : said.accepted = None
    /\ promised' = IF n \in group.replicas
                   THEN [promised EXCEPT ![n] = Most({ said.promised : said \in Tolds(n, q, counted) })]
                   ELSE promised
    /\ head' = IF n \in group.replicas
               THEN [head EXCEPT ![n] = Vacant(Most({ said.generation : said \in Tolds(n, q, counted) }))]
               ELSE head
    /\ disk' = [disk EXCEPT ![n].behind = FALSE]
    /\ UNCHANGED <<group, accepted, used, proposed, reply, reads>>
=============================================================================
