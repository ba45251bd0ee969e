"""The parameters that many methods of this room share."""

from __future__ import annotations

from pydantic import Field

from kvorum.interface import NodeName, Parameters, Privilege

Row = dict[str, object]

AUDIT = Privilege("/nodes/{node}", "Sys.Audit")
MODIFY = Privilege("/nodes/{node}", "Sys.Modify")
CLUSTER_AUDIT = Privilege("/", "Sys.Audit")
CLUSTER_MODIFY = Privilege("/", "Sys.Modify")


class NodePath(Parameters):
    node: NodeName = Field(description="The node's name.")
