"""The nftables rules of a network: a table of its own, so that taking it away takes away all of it.

Schema: libnftables-json(5). nft applies one document as one transaction.
"""

from __future__ import annotations

import msgspec

from twinfs.report.json_lines import Json
from twinfs_qemu.errors import NetError
from twinfs_qemu.net.state import Network
from twinfs_qemu.programs import call

_FAMILY = "inet"


def table_name(name: str) -> str:
    """Device names may have characters that nft does not take bare."""
    return "twinfs_" + "".join(letter if letter.isalnum() else "_" for letter in name)


def document(network: Network) -> Json:
    """Made anew whatever is there: `add` does nothing where there is a table, so `delete` never fails."""
    table: Json = {"family": _FAMILY, "name": table_name(network.name)}
    commands: list[Json] = [
        {"add": {"table": table}},
        {"delete": {"table": table}},
        {"add": {"table": table}},
    ]
    commands.append(_chain(network, "forward", "filter", "forward", 0))
    tap, uplink = network.name, network.uplink
    if uplink is not None:
        commands.append(
            _rule(network, "forward", _is("iifname", tap), _is("oifname", uplink), _verdict("accept"))
        )
        answers = _conntrack("in", "established", "related")
        commands.append(_rule(network, "forward", _is("oifname", tap), answers, _verdict("accept")))
    # The guest reaches what the uplink leads to, and nobody reaches the guest first.
    commands.append(_rule(network, "forward", _is("iifname", tap), _verdict("drop")))
    commands.append(_rule(network, "forward", _is("oifname", tap), _verdict("drop")))
    if uplink is not None:
        if not network.uplink_forwarding_before:
            # The kernel asks the interface at which a packet arrives; without this the machine would
            # become a router for whoever sits at the uplink.
            new = _conntrack("in", "new")
            commands.append(_rule(network, "forward", _is("iifname", uplink), new, _verdict("drop")))
        commands.append(_chain(network, "postrouting", "nat", "postrouting", 100))
        address, _, length = network.subnet.partition("/")
        prefix: Json = {"prefix": {"addr": address, "len": int(length)}}
        source = _match({"payload": {"protocol": "ip", "field": "saddr"}}, prefix)
        commands.append(_rule(network, "postrouting", source, _is("oifname", uplink), {"masquerade": None}))
    return {"nftables": commands}


def apply(network: Network) -> None:
    _nft(document(network))


def remove(name: str) -> None:
    """Also where there is none."""
    table: Json = {"family": _FAMILY, "name": table_name(name)}
    _nft({"nftables": [{"add": {"table": table}}, {"delete": {"table": table}}]})


def are_there(name: str) -> bool:
    return call("nft", "list", "table", _FAMILY, table_name(name)).returncode == 0


def _nft(commands: Json) -> None:
    done = call("nft", "-j", "-f", "-", stdin=msgspec.json.encode(commands).decode())
    if done.returncode != 0:
        raise NetError(f"nft refused the rules: {(done.stderr or done.stdout).strip()}")


def _chain(network: Network, name: str, kind: str, hook: str, priority: int) -> Json:
    place: dict[str, Json] = {"family": _FAMILY, "table": table_name(network.name), "name": name}
    return {"add": {"chain": {**place, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}}}


def _rule(network: Network, chain: str, *expressions: Json) -> Json:
    place: dict[str, Json] = {"family": _FAMILY, "table": table_name(network.name), "chain": chain}
    return {"add": {"rule": {**place, "expr": list(expressions)}}}


def _match(left: Json, right: Json, operator: str = "==") -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


def _is(key: str, interface: str) -> Json:
    return _match({"meta": {"key": key}}, interface)


def _conntrack(operator: str, *states: str) -> Json:
    return _match({"ct": {"key": "state"}}, list(states), operator)


def _verdict(word: str) -> Json:
    return {word: None}
