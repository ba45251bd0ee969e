/** Gives the file that virt-viewer opens: by this page's own host as the proxy, which the browser reaches. */

import { useState } from "react";
import { Button } from "@patternfly/react-core";
import { readFile } from "../api/client";
import { useText } from "../i18n/text";

export function SpiceFile({ path, vmid }: { path: string; vmid: number }) {
  const t = useText();
  const [asking, setAsking] = useState(false);
  const [why, setWhy] = useState("");
  const ask = async () => {
    setAsking(true);
    setWhy("");
    try {
      save(await readFile("spiceconfig", `${path}/spiceproxy`, { proxy: location.hostname }), `vm-${vmid}.vv`);
    } catch (error) {
      setWhy((error as Error).message);
    } finally {
      setAsking(false);
    }
  };
  return (
    <>
      {why !== "" && <span role="alert">{why}</span>}
      <Button size="sm" variant="secondary" isDisabled={asking} title={t.console.spiceHint} onClick={() => void ask()}>
        SPICE
      </Button>
    </>
  );
}

function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
