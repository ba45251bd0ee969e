/** Which task is shown in the drawer; whoever starts one hands its UPID over here. */

import { createContext, useContext, useMemo, useState, type ReactNode } from "react";

interface TaskFocus {
  upid: string | undefined;
  open: boolean;
  /** Opens the drawer and shows this task's log. */
  follow: (upid: string) => void;
  /** Back to the list. */
  leave: () => void;
  setOpen: (open: boolean) => void;
}

const Focus = createContext<TaskFocus | null>(null);

export function TaskFocusProvider({ children }: { children: ReactNode }) {
  const [upid, setUpid] = useState<string>();
  const [open, setOpen] = useState(false);
  const focus = useMemo<TaskFocus>(
    () => ({
      upid,
      open,
      follow: (next) => {
        setUpid(next);
        setOpen(true);
      },
      leave: () => setUpid(undefined),
      setOpen,
    }),
    [upid, open],
  );
  return <Focus value={focus}>{children}</Focus>;
}

export function useTaskFocus(): TaskFocus {
  const focus = useContext(Focus);
  if (!focus) throw new Error("no TaskFocusProvider stands above this component");
  return focus;
}
