/** Quorum in a picture (one mark for each vote, a line at the majority) and in sentences. */

import CheckCircleIcon from "@patternfly/react-icons/dist/esm/icons/check-circle-icon";
import ExclamationCircleIcon from "@patternfly/react-icons/dist/esm/icons/exclamation-circle-icon";
import { useText } from "../i18n/text";
import { Panel } from "../shell/parts";
import type { ReactNode } from "react";
import { explain, losses, refusedEdits, type Quorum } from "./quorum";

interface Props {
  quorum: Quorum;
  /** also each set of nodes whose loss costs quorum */
  all?: boolean;
  action?: ReactNode;
}

export function QuorumCard({ quorum, all = false, action }: Props) {
  const t = useText();
  const lost = all ? losses(quorum, t) : undefined;
  const [first, ...others] = explain(quorum, t);
  const rest = [...(lost ? [lost] : []), ...others, ...refusedEdits(quorum, t)];
  return (
    <Panel
      title={t.quorum.title}
      aside={
        quorum.clustered && (
          <span className="kv-verdict" data-quorate={quorum.quorate}>
            {quorum.quorate ? <CheckCircleIcon /> : <ExclamationCircleIcon />}{" "}
            {quorum.quorate ? t.quorum.quorate : t.quorum.lost}
          </span>
        )
      }
    >
      <div className="kv-quorum">
        {quorum.clustered && (
          <div className="kv-votes">
            <Marks quorum={quorum} />
            <dl>
              <div>
                <dt>{t.quorum.present}</dt>
                <dd>{quorum.present}</dd>
              </div>
              <div>
                <dt>{t.quorum.needed}</dt>
                <dd>{quorum.needed}</dd>
              </div>
              <div>
                <dt>{t.quorum.expected}</dt>
                <dd>{quorum.expected}</dd>
              </div>
            </dl>
          </div>
        )}
        <div className="kv-sentences">
          <p>{first}</p>
          {rest.map((sentence) => (
            <p key={sentence} className="kv-quiet">
              {sentence}
            </p>
          ))}
          {action && <div className="kv-spaced">{action}</div>}
        </div>
      </div>
    </Panel>
  );
}

function Marks({ quorum }: { quorum: Quorum }) {
  const t = useText();
  const marks = Array.from({ length: quorum.expected }, (_, index) => index);
  return (
    <div
      className="kv-marks"
      role="img"
      aria-label={t.quorum.votes(quorum.present, quorum.expected, quorum.needed)}
    >
      {marks.map((index) => (
        <span key={index} data-present={index < quorum.present} data-last={index === quorum.needed - 1} />
      ))}
    </div>
  );
}
