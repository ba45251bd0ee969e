/** Datacenter → Cluster: how the cluster is made, and everything that changes it. */

import { useState } from "react";
import { Button, Tooltip } from "@patternfly/react-core";
import { useDevice } from "../api/cluster";
import { useClusterStatus, useConfiguredNodes, useQuorum } from "../api/live";
import { useSession } from "../api/session";
import { QuorumCard } from "../datacenter/QuorumCard";
import { cautions, readQuorum } from "../datacenter/quorum";
import { useText } from "../i18n/text";
import { Facts, Panel } from "../shell/parts";
import type { Cluster } from "../tree/model";
import { Certificate } from "./Certificate";
import { CreateDialog } from "./CreateDialog";
import { RemoveDeviceDialog, SetupDialog } from "./DeviceDialogs";
import { InformationDialog } from "./InformationDialog";
import { JoinDialog } from "./JoinDialog";
import { readMembers, type Member } from "./members";
import { MembersTable } from "./MembersTable";
import { ExpectedDialog, LeaveDialog, RemoveDialog } from "./NodeDialogs";
import { VotesDialog } from "./VotesDialog";

type Open =
  | { dialog: "create" | "information" | "join" | "leave" | "expected" | "setup" | "remove-device" }
  | { dialog: "votes" | "remove"; member: Member };

export function ClusterTab({ cluster }: { cluster: Cluster }) {
  const t = useText();
  const session = useSession();
  const [open, setOpen] = useState<Open>();
  const status = useClusterStatus().data ?? [];
  const configured = useConfiguredNodes().data ?? [];
  const quorum = readQuorum(status, configured, useQuorum().data ?? null);
  const members = readMembers(status, configured);
  const header = status.find((row) => row.type === "cluster");
  const local = members.find((member) => member.local) ?? members[0];
  const notRoot = session.state === "in" && session.user !== "root@pam" ? t.cluster.rootOnly : undefined;
  const refused = notRoot ?? (cluster.quorate ? undefined : t.cluster.needsQuorum);
  const show = (dialog: Exclude<Open, { member: Member }>["dialog"]) => () => setOpen({ dialog });
  const close = () => setOpen(undefined);
  return (
    <div className="kv-stack">
      {header && local && <Certificate node={local.name} boxed />}
      <Panel
        title={t.cluster.title}
        aside={
          <div className="kv-actions" role="toolbar" aria-label={t.cluster.title}>
            {header ? (
              <>
                <Act name={t.information.open} primary onClick={show("information")} />
                <Act name={t.leave.open} refused={refused} onClick={show("leave")} />
              </>
            ) : (
              <>
                <Act name={t.create.open} primary refused={refused} onClick={show("create")} />
                <Act name={t.join.open} refused={refused} onClick={show("join")} />
              </>
            )}
          </div>
        }
      >
        {header ? (
          <Facts
            facts={[
              [t.cluster.name, header.name],
              [t.cluster.version, header.version],
              [t.cluster.count, header.nodes],
            ]}
          />
        ) : (
          <>
            <p>{t.cluster.none}</p>
            <p className="kv-quiet">{t.cluster.howTo}</p>
          </>
        )}
      </Panel>
      {header && (
        <>
          <Panel title={t.cluster.members}>
            <MembersTable
              members={members}
              refused={refused}
              onVotes={(member) => setOpen({ dialog: "votes", member })}
              onRemove={(member) => setOpen({ dialog: "remove", member })}
            />
          </Panel>
          <QuorumCard
            quorum={quorum}
            all
            action={
              !quorum.quorate &&
              quorum.present < quorum.needed && (
                <Act name={t.expected.open} refused={notRoot} onClick={show("expected")} />
              )
            }
          />
          <DevicePanel
            refused={refused}
            lacking={cautions(quorum, t).includes(t.caution["two-nodes"]())}
            odd={members.length % 2 === 1}
            onSetup={show("setup")}
            onRemove={show("remove-device")}
          />
        </>
      )}
      {open && local && <OpenDialog open={open} local={local} cluster={cluster} quorum={quorum} refused={notRoot} onClose={close} />}
    </div>
  );
}

interface OpenProps {
  open: Open;
  local: Member;
  cluster: Cluster;
  quorum: ReturnType<typeof readQuorum>;
  refused: string | undefined;
  onClose: () => void;
}

function OpenDialog({ open, local, cluster, quorum, refused, onClose }: OpenProps) {
  const guestsOf = (node: string) => cluster.guests.filter((guest) => guest.node === node);
  switch (open.dialog) {
    case "create":
      return <CreateDialog node={local.name} address={local.addresses.get(0) ?? ""} onClose={onClose} />;
    case "information":
      return <InformationDialog refused={refused} onClose={onClose} />;
    case "join":
      return <JoinDialog node={local.name} guests={guestsOf(local.name).length} onClose={onClose} />;
    case "leave":
      return <LeaveDialog node={local.name} onClose={onClose} />;
    case "expected":
      return <ExpectedDialog quorum={quorum} onClose={onClose} />;
    case "setup":
      return <SetupDialog onClose={onClose} />;
    case "remove-device":
      return <RemoveDeviceDialog onClose={onClose} />;
    case "votes":
      return <VotesDialog member={open.member} quorum={quorum} onClose={onClose} />;
    case "remove":
      return <RemoveDialog node={open.member.name} guests={guestsOf(open.member.name)} onClose={onClose} />;
  }
}

interface DeviceProps {
  refused: string | undefined;
  /** two nodes have no third vote */
  lacking: boolean;
  odd: boolean;
  onSetup: () => void;
  onRemove: () => void;
}

function DevicePanel({ refused, lacking, odd, onSetup, onRemove }: DeviceProps) {
  const t = useText();
  const device = useDevice().data ?? {};
  const there = Object.keys(device).length > 0;
  const words = t.device.fact as Readonly<Record<string, string>>;
  return (
    <Panel
      title={t.device.title}
      aside={
        there ? (
          <Act name={t.device.remove} refused={refused} onClick={onRemove} />
        ) : (
          <Act name={t.device.setup} primary={lacking} refused={refused} onClick={onSetup} />
        )
      }
    >
      {there ? (
        <Facts facts={Object.entries(words).map(([label, word]) => [word, device[label]])} />
      ) : (
        <>
          <p>{t.device.none}</p>
          <p className="kv-quiet">{odd ? t.device.notNeeded : t.device.text}</p>
        </>
      )}
    </Panel>
  );
}

interface ActProps {
  name: string;
  primary?: boolean;
  refused?: string | undefined;
  onClick: () => void;
}

function Act({ name, primary = false, refused, onClick }: ActProps) {
  const button = (
    <Button
      size="sm"
      variant={primary ? "primary" : "secondary"}
      isAriaDisabled={refused !== undefined}
      onClick={refused === undefined ? onClick : undefined}
    >
      {name}
    </Button>
  );
  return refused === undefined ? button : <Tooltip content={refused}>{button}</Tooltip>;
}
