---------------------------- MODULE TieringTrace ----------------------------
(***************************************************************************)
(* Replays what nodes did with the archive through the actions of Tiering; *)
(* RegisterTrace, which extends this, replays it with all else that        *)
(* happened to a path.                                                     *)
(*                                                                         *)
(* The archive is outside and says nothing, and what two nodes do with it  *)
(* is in no order.  So no event is judged by what another node saw there:  *)
(* each reads and changes what its own node knows, and facts that are      *)
(* known by its causes, which only grow: a head that was proposed, a body  *)
(* that was sent (the object names the Ship that wrote it), what another   *)
(* node has on record.  So these events, too, commute with all that they   *)
(* have no path of edges to.                                               *)
(***************************************************************************)
EXTENDS Register, Tiering, TraceData

(* A head as a read or an acknowledgement knows it: by the ballot at which it was chosen. *)
HeadLookedAt(ballot) ==
    LET found == IF ballot \in DOMAIN proposed THEN proposed[ballot].head ELSE NoHead
    IN  [generation |-> found.generation, deleted |-> Deleted(found), etag |-> Etag(found)]

ReplayLook(e) ==
    /\ Look_generation(e) = HeadLookedAt(Look_accepted(e)).generation
    /\ Look_deleted(e) = HeadLookedAt(Look_accepted(e)).deleted
    /\ Look(Look_node(e), HeadLookedAt(Look_accepted(e)),
            [present |-> Look_found_present(e), generation |-> Look_found_generation(e), etag |-> Look_found_etag(e)])

ReplayShip(e) ==
    /\ Ship_generation(e) = looked[Ship_node(e)].head.generation
    /\ Ship_deleted(e) = looked[Ship_node(e)].head.deleted
    /\ Ship_etag(e) = looked[Ship_node(e)].head.etag
    /\ Ship_found_present(e) = looked[Ship_node(e)].found.present
    /\ Ship_found_generation(e) = looked[Ship_node(e)].found.generation
    /\ Ship(Ship_node(e), [kind |-> Ship_condition(e), etag |-> Ship_condition_etag(e)])

ReplayShipped(e) ==
    /\ Shipped(Shipped_node(e), Shipped_generation(e))

ReplayConfirm(e) ==
    /\ Confirm_was_archived(e) = archived[Confirm_node(e)]
    /\ Confirm_was_settled(e) = settled[Confirm_node(e)]
    /\ Confirm(Confirm_node(e), Confirm_generation(e), Confirm_by(e), Confirm_is_settled(e))

ReplaySettle(e) ==
    /\ Settle_was_archived(e) = archived[Settle_node(e)]
    /\ Settle_was_settled(e) = settled[Settle_node(e)]
    /\ Settle(Settle_node(e), Settle_generation(e), Settle_waited_ms(e) >= Settle_request_life_ms(e))

ReplayDoubt(e) ==
    /\ Doubt_was_archived(e) = archived[Doubt_node(e)]
    /\ Doubt_was_settled(e) = settled[Doubt_node(e)]
    /\ Doubt(Doubt_node(e))

(* Of a version with a name of its own the archive has no copy when the next one is shipped; so it stays. *)
ReplayEvict(e) ==
    /\ Evict_was_archived(e) = archived[Evict_node(e)]
    /\ Evict_was_settled(e) = settled[Evict_node(e)]
    /\ Evict_was_generation(e) = head[Evict_node(e)].generation
    /\ Evict_generation(e) = head[Evict_node(e)].generation
    /\ Current(head[Evict_node(e)]).id = NullVersion
    /\ Evict(Evict_node(e), Evict_generation(e))

ReplayAnswer(e) ==
    /\ Answer(Answer_node(e), Answer_generation(e))

TieringStep(e) ==
    \/ Kind(e) = K_Look /\ ReplayLook(e)
    \/ Kind(e) = K_Ship /\ ReplayShip(e)
    \/ Kind(e) = K_Shipped /\ ReplayShipped(e)
    \/ Kind(e) = K_Confirm /\ ReplayConfirm(e)
    \/ Kind(e) = K_Settle /\ ReplaySettle(e)
    \/ Kind(e) = K_Doubt /\ ReplayDoubt(e)
    \/ Kind(e) = K_Evict /\ ReplayEvict(e)
    \/ Kind(e) = K_Answer /\ ReplayAnswer(e)
=============================================================================
