------------------------------ MODULE LockTrace ------------------------------
EXTENDS Lock, Sequences, TLC, TraceData

VARIABLES trace, cursor

Event == Traces[trace][cursor]

ReplayMake(e) ==
    /\ Make_by(e) = Param_by(trace)
    /\ Make(Make_fence(e))

ReplayTake(e) ==
    /\ Take_was_fence(e) = fence
    /\ Take(Take_node(e), Take_fence(e))

ReplayGive(e) ==
    /\ Give_fence(e) = fence
    /\ Give(Give_node(e))

ReplayLook(e) ==
    /\ Look(Look_node(e), Look_held(e), <<Look_fence(e)>>)

TraceInit == trace \in 1..Len(Traces) /\ cursor = 1 /\ holder = Nobody /\ fence = 0

TraceNext ==
    /\ cursor <= Len(Traces[trace])
    /\ \/ Kind(Event) = K_Make /\ ReplayMake(Event)
       \/ Kind(Event) = K_Take /\ ReplayTake(Event)
       \/ Kind(Event) = K_Give /\ ReplayGive(Event)
       \/ Kind(Event) = K_Look /\ ReplayLook(Event)
    /\ cursor' = cursor + 1
    /\ UNCHANGED trace

TraceAccepted == cursor <= Len(Traces[trace]) \/ PrintT(<<"OK", trace>>)
=============================================================================
