-------------------------------- MODULE Lock --------------------------------
(* A lock with fencing: who takes it shows a higher fence than all before.   *)
(* A system of its own, to show that the checker needs nothing but files.    *)
EXTENDS Integers

VARIABLES holder, fence

Nobody == 0

Make(f) ==
    /\ fence = 0
    /\ fence' = f
    /\ UNCHANGED holder

Take(n, f) ==
    /\ holder = Nobody
    /\ f > fence
    /\ holder' = n
    /\ fence' = f

Give(n) ==
    /\ holder = n
    /\ holder' = Nobody
    /\ UNCHANGED fence

Look(n, held, fences) ==
    /\ held <=> holder = n
    /\ \A i \in DOMAIN fences : fences[i] = fence
    /\ UNCHANGED <<holder, fence>>
=============================================================================
