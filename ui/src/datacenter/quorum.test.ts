import { describe, expect, test } from "vitest";
import type { ClusterStatusRow, ConfiguredNode } from "../api/types";
import { de } from "../i18n/de";
import { en } from "../i18n/en";
import { bringBack, explain, losses, mayFailAtOnce, readQuorum, refusedEdits } from "./quorum";

/** "a:1 b:2 -c:1": a dash marks a node that is off. */
function cluster(text: string, quorate: boolean) {
  const status: ClusterStatusRow[] = [
    { type: "cluster", id: "cluster", name: "c", version: 1, nodes: 0, quorate: quorate ? 1 : 0 },
  ];
  const votes: ConfiguredNode[] = [];
  text.split(" ").forEach((part, index) => {
    const [name = "", count = "1"] = part.replace("-", "").split(":");
    const online = part.startsWith("-") ? 0 : 1;
    status.push({ type: "node", id: `node/${name}`, name, nodeid: index + 1, online });
    votes.push({ node: name, quorum_votes: count });
  });
  return readQuorum(status, votes, null);
}

describe("votes", () => {
  test.each([
    ["a b", 2],
    ["a b c", 2],
    ["a b c d", 3],
    ["a b c d e", 3],
    ["a b c d e f", 4],
  ])("%s needs %i", (text, needed) => {
    expect(cluster(text, true).needed).toBe(needed);
  });

  test("the server's own count, which knows the QDevice, goes before ours", () => {
    const status: ClusterStatusRow[] = [
      { type: "cluster", id: "cluster", name: "c", version: 1, nodes: 2, quorate: 1 },
      { type: "node", id: "node/a", name: "a", nodeid: 1, online: 1 },
      { type: "node", id: "node/b", name: "b", nodeid: 2, online: 1 },
    ];
    const quorum = readQuorum(status, [], { total: 3, present: 3, needed: 2 });
    expect(mayFailAtOnce(quorum)).toBe(1);
    expect(explain(quorum, en)).toEqual([en.quorum.anyMayFail(1, 2)]);
  });
});

describe("what may fail", () => {
  test.each([
    ["a b", 0],
    ["a b c", 1],
    ["a b c d", 1],
    ["a b c d e", 2],
    ["a b -c", 0],
    ["a:2 b:1", 0],
  ])("%s: any %i at once", (text, count) => {
    expect(mayFailAtOnce(cluster(text, true))).toBe(count);
  });

  test("with uneven votes the sentence says which may and which may not", () => {
    expect(explain(cluster("a:2 b:1", true), en)[0]).toBe(
      "b may fail. If a fails, the rest becomes read-only.",
    );
  });

  test("two nodes with a vote each are told about a third vote, and who is offline is named", () => {
    expect(explain(cluster("a b", true), en)).toEqual([en.quorum.noneMayFail, en.quorum.twoNodes]);
    expect(explain(cluster("a b -c", true), de)).toEqual([de.quorum.noneMayFail, "Offline: c."]);
  });
});

describe("what brings it back", () => {
  test("each node that has enough votes alone", () => {
    const quorum = cluster("a -b -c", false);
    expect(bringBack(quorum).map((way) => way.map((voter) => voter.name))).toEqual([["b"], ["c"]]);
    expect(explain(quorum, en)).toEqual([
      "1 of 3 votes are present, 2 are needed.",
      "1 more vote brings it back. Switch on: b or c.",
    ]);
  });

  test("several together where none is enough, the heaviest first", () => {
    expect(bringBack(cluster("a -b -c -d -e", false))).toHaveLength(1);
    expect(explain(cluster("a -b -c -d -e", false), en)[1]).toContain("b + c");
  });

  test("nothing, when the votes that are missing belong to nobody who is off", () => {
    const quorum = { ...cluster("a b", false), present: 1, needed: 2 };
    expect(explain(quorum, en)[1]).toBe(en.quorum.impossible);
  });
});

test("a node without a cluster needs nobody's vote", () => {
  const quorum = readQuorum(
    [{ type: "node", id: "node/a", name: "a", nodeid: 0, online: 1, local: 1 }],
    [],
    null,
  );
  expect(quorum.quorate).toBe(true);
  expect(explain(quorum, en)).toEqual([en.quorum.standalone]);
});

test("a QDevice whose vote is missing is among those that would bring quorum back", () => {
  const status: ClusterStatusRow[] = [
    { type: "cluster", id: "cluster", name: "c", version: 1, nodes: 2, quorate: 0 },
    { type: "node", id: "node/a", name: "a", nodeid: 1, online: 1 },
    { type: "node", id: "node/b", name: "b", nodeid: 2, online: 0 },
  ];
  const quorum = readQuorum(status, [], { total: 3, present: 1, needed: 2, missing: ["b", "Qdevice"] });
  expect(explain(quorum, en)[1]).toContain("b or Qdevice");
});

describe("what the server adds", () => {
  const status: ClusterStatusRow[] = [
    { type: "cluster", id: "cluster", name: "c", version: 1, nodes: 3, quorate: 1 },
    ...["a", "b", "c"].map((name, index) => ({
      type: "node" as const,
      id: `node/${name}`,
      name,
      nodeid: index + 1,
      online: 1 as const,
    })),
  ];
  const votes: ConfiguredNode[] = [{ node: "a", quorum_votes: 3 }, { node: "b" }, { node: "c" }];
  const count = { total: 5, present: 5, needed: 3 };

  test("a caution is said in the reader's language, an unknown one in the server's words", () => {
    const cautions = [
      { kind: "heavy-node", sentence: "a has 3 of 5 votes: …", node: "a" },
      { kind: "toString", sentence: "Something new." },
    ];
    const quorum = readQuorum(status, votes, { ...count, cautions });
    expect(explain(quorum, de)).toEqual([
      de.quorum.someMayFail("b oder c", "a"),
      "Ohne a können die anderen nichts ändern: er hat 3 von 5 Stimmen. Das passt, wenn die anderen nur ab und zu an sind.",
      "Something new.",
    ]);
  });

  test("the sets whose loss costs quorum are named where one has several, eight at most", () => {
    const set = { count: 2, of: ["a", "b", "c"] };
    const three = readQuorum(status, [], { total: 3, present: 3, needed: 2, losses: [[set]] });
    expect(losses(three, en)).toBe("Quorum is lost if these fail at once: any 2 of a, b, c.");
    const mixed = [[{ count: 1, of: ["a"] }], [{ count: 1, of: ["b", "c"] }, { count: 2, of: ["d", "e"] }]];
    expect(losses({ ...three, answer: { losses: mixed } }, en)).toContain("a; b or c and d and e.");
    expect(losses({ ...three, answer: { losses: [[{ count: 1, of: ["a"] }]] } }, en)).toBeUndefined();
    expect(losses({ ...three, answer: { losses: Array(9).fill([set]) } }, en)).toMatch(/; …\.$/);
  });

  test("votes that suffice while nothing can be changed are told with the store's reason", () => {
    const held = [{ ...status[0], quorate: 0 } as ClusterStatusRow, ...status.slice(1)];
    const quorum = readQuorum(held, [], { total: 3, present: 3, needed: 2, reason: "waiting for b" });
    expect(explain(quorum, en)[1]).toBe(en.quorum.held("waiting for b"));
  });

  test("edits that were refused are told with their node", () => {
    const quorum = readQuorum(status, [], { ...count, refused: { b: "config_version did not grow" } });
    expect(refusedEdits(quorum, en)).toEqual([en.quorum.refusedEdit("b", "config_version did not grow")]);
  });
});
