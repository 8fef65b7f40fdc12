--------------------------- MODULE RegisterTrace ----------------------------
(***************************************************************************)
(* Replays what a cluster really did to its registers through the actions  *)
(* of Register and Healing: one behaviour a path, one step an event.       *)
(*                                                                         *)
(* Every parameter comes from the event, so a state has at most one        *)
(* successor and the state graph of a trace is a line: TraceView may hash  *)
(* the cursor alone.  Each step first compares the state that the event    *)
(* says it found with the state that the events before it lead to, then    *)
(* takes the very action that RegisterMC checks.                           *)
(*                                                                         *)
(* Why one linear order of a trace's events is enough.  Each acceptor      *)
(* event changes one node's acceptor and the replies from it; each         *)
(* coordinator event reads replies, and has a cause edge from each that it *)
(* counts.  An acceptor's later reply to the same coordinator is caused by *)
(* a later event of that coordinator, so it cannot be ordered between.     *)
(* Events without a path of such edges between them therefore commute:     *)
(* RegisterCommute states what that takes and has TLC check it, and tests  *)
(* replay real runs in many linear orders.                                 *)
(*                                                                         *)
(* What is done with the archive is in the same behaviour, but in variables*)
(* of its own: TieringTrace says how it is replayed.                       *)
(***************************************************************************)
EXTENDS Healing, TieringTrace

VARIABLES
    trace, cursor,
    unanswered     \* ballot -> outcome: what was proposed here and not yet acknowledged, with what its client is to be told

Event == Traces[trace][cursor]
TraceNode == 1..Size_node

ReplayRestart(e) ==
    /\ Restart_promised(e) = promised[Restart_node(e)]
    /\ Restart_accepted(e) = accepted[Restart_node(e)]
    /\ Restart_generation(e) = Shown(Restart_node(e)).generation
    /\ Restart_etag(e) = Etag(Shown(Restart_node(e)))
    /\ Restart_deleted(e) = Deleted(Shown(Restart_node(e)))
    /\ Restart_versions(e) = Ids(Shown(Restart_node(e)))
    /\ Restart_archived(e) = archived[Restart_node(e)]
    /\ Restart_settled(e) = settled[Restart_node(e)]
    /\ Restart(Restart_node(e))
    /\ Forget(Restart_node(e))

ReplayPrepare(e) ==
    /\ Prepare_replicas(e) = group.replicas
    /\ Prepare_preferred(e) = group.preferred
    /\ Prepare_write_quorum(e) = group.writeQuorum
    /\ Prepare(Prepare_node(e), Prepare_ballot(e))

ReplayPromise(e) ==
    /\ Promise_was_promised(e) = promised[Promise_node(e)]
    /\ Promise_was_accepted(e) = accepted[Promise_node(e)]
    /\ Promise_was_generation(e) = Shown(Promise_node(e)).generation
    /\ Promise(Promise_node(e), Promise_ballot(e))

(* A request says nothing that its operation and its condition do not use, and every write has an id: else a trace *)
(* could tell of another request than the one that was carried out.                                                *)
Plain(change) ==
    [change EXCEPT
        !.condition = IF change.operation = "read" THEN "none" ELSE @,
        !.wantedEtag = IF change.condition \in {"etag_is", "etag_is_not"} THEN @ ELSE NoEtag,
        !.wantedGeneration = IF change.condition = "generation_is" THEN @ ELSE 0,
        !.versioned = Makes(change) /\ @,
        !.version = IF change.operation \in {"delete", "amend"} THEN @ ELSE NullVersion]

ClaimChange(e) ==
    [operation |-> Claim_operation(e), condition |-> Claim_condition(e),
     wantedEtag |-> Claim_condition_etag(e), wantedGeneration |-> Claim_condition_generation(e),
     write |-> Claim_write_id(e), etag |-> Claim_etag(e),
     versioned |-> Claim_versioned(e), version |-> Claim_version(e)]

ReplayClaim(e) ==
    /\ Claim_replicas(e) = group.replicas
    /\ Claim_preferred(e) = group.preferred
    /\ Claim_write_quorum(e) = group.writeQuorum
    /\ Claim_was_promised(e) = promised[Claim_node(e)]
    /\ Claim_was_accepted(e) = accepted[Claim_node(e)]
    /\ Claim_was_generation(e) = Shown(Claim_node(e)).generation
    /\ Claim_condition(e) = Plain(ClaimChange(e)).condition
    /\ Claim_condition_etag(e) = Plain(ClaimChange(e)).wantedEtag
    /\ Claim_condition_generation(e) = Plain(ClaimChange(e)).wantedGeneration
    /\ Claim_versioned(e) = Plain(ClaimChange(e)).versioned
    /\ Claim_version(e) = Plain(ClaimChange(e)).version
    /\ (Claim_write_id(e) = NoWrite) = (Claim_operation(e) = "read")
    /\ Claim_outcome(e) = Outcome(ClaimChange(e), NoHead)
    /\ Claim_generation(e) = Apply(ClaimChange(e), NoHead).generation
    /\ Claim_etag(e) = Etag(Apply(ClaimChange(e), NoHead))
    /\ Claim_deleted(e) = Deleted(Apply(ClaimChange(e), NoHead))
    /\ Claim_versions(e) = Ids(Apply(ClaimChange(e), NoHead))
    /\ Claim(Claim_node(e), Claim_ballot(e), Claim_next(e), ClaimChange(e))

ProposeChange(e) ==
    [operation |-> Propose_operation(e), condition |-> Propose_condition(e),
     wantedEtag |-> Propose_condition_etag(e), wantedGeneration |-> Propose_condition_generation(e),
     write |-> Propose_write_id(e), etag |-> Propose_etag(e),
     versioned |-> Propose_versioned(e), version |-> Propose_version(e)]

ReplayPropose(e) ==
    /\ Propose_counted(e) # {}
    /\ Propose_was_generation(e) = Found(Propose_node(e), Propose_counted(e)).generation
    /\ Propose_condition(e) = Plain(ProposeChange(e)).condition
    /\ Propose_condition_etag(e) = Plain(ProposeChange(e)).wantedEtag
    /\ Propose_condition_generation(e) = Plain(ProposeChange(e)).wantedGeneration
    /\ Propose_versioned(e) = Plain(ProposeChange(e)).versioned
    /\ Propose_version(e) = Plain(ProposeChange(e)).version
    /\ (Propose_write_id(e) = NoWrite) = (Propose_operation(e) = "read")
    /\ Propose_outcome(e) = Outcome(ProposeChange(e), Found(Propose_node(e), Propose_counted(e)))
    /\ Propose_generation(e) = Apply(ProposeChange(e), Found(Propose_node(e), Propose_counted(e))).generation
    /\ Propose_etag(e) = Etag(Apply(ProposeChange(e), Found(Propose_node(e), Propose_counted(e))))
    /\ Propose_deleted(e) = Deleted(Apply(ProposeChange(e), Found(Propose_node(e), Propose_counted(e))))
    /\ Propose_versions(e) = Ids(Apply(ProposeChange(e), Found(Propose_node(e), Propose_counted(e))))
    /\ Propose(Propose_node(e), Propose_ballot(e), Propose_next(e), Propose_counted(e), ProposeChange(e))

ReplayAccept(e) ==
    /\ Accept_was_promised(e) = promised[Accept_node(e)]
    /\ Accept_was_accepted(e) = accepted[Accept_node(e)]
    /\ Accept_was_generation(e) = Shown(Accept_node(e)).generation
    /\ Accept_ballot(e) \in DOMAIN proposed
    /\ Accept_next(e) = proposed[Accept_ballot(e)].next
    /\ Accept_generation(e) = proposed[Accept_ballot(e)].head.generation
    /\ Accept_etag(e) = Etag(proposed[Accept_ballot(e)].head)
    /\ Accept_deleted(e) = Deleted(proposed[Accept_ballot(e)].head)
    /\ Accept_versions(e) = Ids(proposed[Accept_ballot(e)].head)
    /\ Accept_write_id(e) = LastWrite(proposed[Accept_ballot(e)].head)
    /\ Accept(Accept_node(e), Accept_ballot(e))

ReplayAdopt(e) ==
    /\ Adopt_was_promised(e) = promised[Adopt_node(e)]
    /\ Adopt_was_accepted(e) = accepted[Adopt_node(e)]
    /\ Adopt_was_generation(e) = Shown(Adopt_node(e)).generation
    /\ Adopt_ballot(e) \in DOMAIN proposed
    /\ Adopt_generation(e) = proposed[Adopt_ballot(e)].head.generation
    /\ Adopt_etag(e) = Etag(proposed[Adopt_ballot(e)].head)
    /\ Adopt_deleted(e) = Deleted(proposed[Adopt_ballot(e)].head)
    /\ Adopt_versions(e) = Ids(proposed[Adopt_ballot(e)].head)
    /\ Adopt_write_id(e) = LastWrite(proposed[Adopt_ballot(e)].head)
    /\ Adopt(Adopt_node(e), Adopt_ballot(e))

ReplayCollect(e) ==
    /\ Collect_was_promised(e) = promised[Collect_node(e)]
    /\ Collect_was_accepted(e) = accepted[Collect_node(e)]
    /\ Collect_was_generation(e) = Shown(Collect_node(e)).generation
    /\ Collect_was_archived(e) = archived[Collect_node(e)]
    /\ Collect_was_settled(e) = settled[Collect_node(e)]
    /\ Collect(Collect_node(e), Collect_read(e), Collect_was_accepted(e), Collect_counted(e))
    /\ ForgetRecord(Collect_node(e), head[Collect_node(e)].generation, Collect_is_tiered(e))

(* What was forgotten of this very path is not known any more, so the event cannot tell what it found. *)
ReplayFloor(e) ==
    /\ Floor(Floor_node(e), Floor_ballot(e), Floor_generation(e))

(* What is about a lost disk is about all paths of it: of those that the node has caught up with already, it says      *)
(* nothing new.                                                                                                       *)
ReplayLose(e) ==
    /\ Lose(Lose_node(e))
    /\ ForgetAll(Lose_node(e))

ReplayMeet(e) ==
    /\ Meet(Meet_node(e), Meet_of(e))

ReplayGather(e) ==
    /\ Gather(Gather_node(e), Gather_read(e))

ReplayTell(e) ==
    /\ Report(Tell_node(e), Tell_read(e))

(* `Found` says what it takes over: of a path of which nothing is accepted, only how many generations were. *)
RejoinFound(e) == Found(Rejoin_node(e), Rejoin_counted(e))
RejoinHead(e) == IF Rejoin_accepted(e) = None THEN NoHead ELSE RejoinFound(e)

ReplayRejoin(e) ==
    /\ Rejoin_counted(e) # {}
    /\ \A s \in Rejoin_counted(e) : reply[Rejoin_node(e)][s].accepted <= Rejoin_accepted(e)
    /\ \E s \in Rejoin_counted(e) : reply[Rejoin_node(e)][s].accepted = Rejoin_accepted(e)
    /\ Rejoin_generation(e) = RejoinFound(e).generation
    /\ Rejoin_etag(e) = Etag(RejoinHead(e))
    /\ Rejoin_deleted(e) = Deleted(RejoinHead(e))
    /\ Rejoin_versions(e) = Ids(RejoinHead(e))
    /\ Rejoin_write_id(e) = LastWrite(RejoinHead(e))
    /\ Rejoin(Rejoin_node(e), Rejoin_ballot(e), Rejoin_counted(e))

ReplayBack(e) ==
    /\ Back(Back_node(e), Back_read(e), Back_counted(e))

SaysNothingNew(e) ==
    \/ Kind(e) = K_Meet /\ ~disk[Meet_of(e)].behind
    \/ Kind(e) = K_Gather /\ ~disk[Gather_node(e)].behind
    \/ Kind(e) = K_Tell /\ ~(MayVote(Tell_node(e)) /\ Tell_read(e) \in DOMAIN reads)
    \/ Kind(e) = K_Back /\ ~disk[Back_node(e)].behind

ReplayRefuse(e) ==
    /\ Refuse_was_promised(e) = promised[Refuse_node(e)]
    /\ Refuse_was_accepted(e) = accepted[Refuse_node(e)]
    /\ Refuse_was_generation(e) = Shown(Refuse_node(e)).generation
    /\ Refuse(Refuse_node(e), Refuse_step(e), Refuse_ballot(e))

ReplayAcknowledge(e) ==
    /\ Acknowledge_ballot(e) \in DOMAIN unanswered
    /\ Acknowledge_outcome(e) = unanswered[Acknowledge_ballot(e)]
    /\ Acknowledge_generation(e) = proposed[Acknowledge_ballot(e)].head.generation
    /\ Acknowledge(Acknowledge_node(e), Acknowledge_ballot(e), Acknowledge_counted(e))

ReplayReport(e) ==
    /\ Report_was_promised(e) = promised[Report_node(e)]
    /\ Report_was_accepted(e) = accepted[Report_node(e)]
    /\ Report_was_generation(e) = Shown(Report_node(e)).generation
    /\ Report(Report_node(e), Report_read(e))

ReplayRead(e) ==
    /\ Read_replicas(e) = group.replicas
    /\ Read_preferred(e) = group.preferred
    /\ Read_write_quorum(e) = group.writeQuorum
    /\ Read_accepted(e) = None \/ Read_accepted(e) \in DOMAIN proposed
    /\ Read_generation(e) = HeadAt(Read_accepted(e)).generation
    /\ Read(Read_read(e), Read_counted(e), Read_accepted(e))

(* What a client is told is what was proposed for it, and it is told once. *)
UnansweredAfter(e) ==
    CASE Kind(e) = K_Propose     -> unanswered @@ (Propose_ballot(e) :> Propose_outcome(e))
      [] Kind(e) = K_Claim       -> unanswered @@ (Claim_ballot(e) :> Claim_outcome(e))
      [] Kind(e) = K_Acknowledge -> [b \in DOMAIN unanswered \ {Acknowledge_ballot(e)} |-> unanswered[b]]
      [] OTHER                   -> unanswered

-----------------------------------------------------------------------------
(* Only events that look at what is on record need it to be there.  TLC goes through all of a state for each event, so  *)
(* what a trace does not speak of is left out of its states.                                                          *)
RegisterKinds ==
    { K_Accept, K_Report, K_Read, K_Acknowledge, K_Propose, K_Promise, K_Prepare, K_Claim, K_Refuse, K_Adopt, K_Floor }
OnRecord(t) == IF \A i \in 1..Len(Traces[t]) : Kind(Traces[t][i]) \in RegisterKinds THEN {} ELSE TraceNode

TraceInit ==
    /\ trace \in 1..Len(Traces)
    /\ cursor = 1
    /\ unanswered = <<>>
    /\ InitWith(Param_replicas(trace), Param_preferred(trace), Param_write_quorum(trace))
    /\ TieringInit(OnRecord(trace))

ReplayOfLostDisk(e) ==
    \/ Kind(e) = K_Meet /\ ReplayMeet(e)
    \/ Kind(e) = K_Gather /\ ReplayGather(e)
    \/ Kind(e) = K_Tell /\ ReplayTell(e)
    \/ Kind(e) = K_Back /\ ReplayBack(e)

RegisterStep(e) ==
    \/ Kind(e) = K_Accept /\ ReplayAccept(e)
    \/ Kind(e) = K_Report /\ ReplayReport(e)
    \/ Kind(e) = K_Read /\ ReplayRead(e)
    \/ Kind(e) = K_Acknowledge /\ ReplayAcknowledge(e)
    \/ Kind(e) = K_Propose /\ ReplayPropose(e)
    \/ Kind(e) = K_Promise /\ ReplayPromise(e)
    \/ Kind(e) = K_Prepare /\ ReplayPrepare(e)
    \/ Kind(e) = K_Claim /\ ReplayClaim(e)
    \/ Kind(e) = K_Refuse /\ ReplayRefuse(e)
    \/ Kind(e) = K_Adopt /\ ReplayAdopt(e)
    \/ Kind(e) = K_Floor /\ ReplayFloor(e)
    \/ Kind(e) = K_Rejoin /\ ReplayRejoin(e)
    \/ SaysNothingNew(e) /\ UNCHANGED vars
    \/ ~SaysNothingNew(e) /\ ReplayOfLostDisk(e)

TraceNext ==
    /\ cursor <= Len(Traces[trace])
    /\ \/ RegisterStep(Event) /\ UNCHANGED tieringVars
       \/ TieringStep(Event) /\ UNCHANGED vars
       \/ Kind(Event) = K_Restart /\ ReplayRestart(Event)
       \/ Kind(Event) = K_Collect /\ ReplayCollect(Event)
       \/ Kind(Event) = K_Lose /\ ReplayLose(Event)
    /\ cursor' = cursor + 1
    /\ unanswered' = UnansweredAfter(Event)
    /\ UNCHANGED trace

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, tieringVars, trace, cursor, unanswered>>

(* A constraint that prints each trace whose end is reached: the checker takes the set difference. *)
TraceAccepted == cursor <= Len(Traces[trace]) \/ PrintT(<<"OK", trace>>)

(* The successor of a state is a function of trace and cursor.  Hashing only these can hide a second *)
(* behaviour, never invent one: it may refuse wrongly, but not accept wrongly.                       *)
TraceView == <<trace, cursor>>
=============================================================================
