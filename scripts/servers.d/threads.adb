--  Ada's tasks as its runtime makes them of threads: rendezvous, a protected object, delays, abortion of a call that
--  waits, an exception and an overflow of the stack that each end in their own task.
with Ada.Text_IO; use Ada.Text_IO;

procedure Threads is
   protected Sum is
      procedure Add (N : Integer);
      function Get return Integer;
   private
      V : Integer := 0;
   end Sum;

   protected body Sum is
      procedure Add (N : Integer) is
      begin
         V := V + N;
      end Add;

      function Get return Integer is
      begin
         return V;
      end Get;
   end Sum;

   task type Worker is
      entry Start (N : Integer);
   end Worker;

   task body Worker is
      K : Integer;
   begin
      accept Start (N : Integer) do
         K := N;
      end Start;
      select
         delay 0.05;
      then abort
         loop
            delay 0.001;
         end loop;
      end select;
      Sum.Add (K);
   end Worker;

   function Deep (N : Integer) return Integer is (if N = 0 then 0 else Deep (N + 1) + 1);
begin
   for Round in 1 .. 5 loop
      declare
         Workers : array (1 .. 200) of Worker;
      begin
         for I in Workers'Range loop
            Workers (I).Start (I);
         end loop;
      end;
   end loop;
   Put_Line ("sum" & Integer'Image (Sum.Get));
   declare
      task Overflows;
      task body Overflows is
      begin
         Put_Line (Integer'Image (Deep (1)));
      exception
         when Storage_Error => Put_Line ("the stack was too small");
      end Overflows;
   begin
      null;
   end;
   declare
      task Raises;
      task body Raises is
      begin
         raise Constraint_Error;
      exception
         when Constraint_Error => Put_Line ("raised and caught");
      end Raises;
   begin
      null;
   end;
end Threads;
