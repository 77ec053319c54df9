//! `service`: where XDR connections are accepted, and how much is in flight.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::context::Context;
use super::fault::shown;
use super::manage;
use super::model::Service;
use super::tls;
use super::value;
use super::view::{View, in_range, word};
use super::yaml::Node;

/// Records in flight unless set, as in the official connector.
const MAX_CONCURRENT_RECORDS: u32 = 32_768;
/// Port unless set, as in the official connector.
const PORT: u16 = 8080;
/// Address unless set, as in the official connector.
pub const ALL_ADDRESSES: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Reads `service`.
pub fn read(context: &mut Context<'_>, root: &View<'_>) -> Service {
    let view = root.section(context, "service");
    protocol(context, &view);
    worker_threads(context, &view);
    let addresses = addresses(context, &view).unwrap_or_else(|| vec![ALL_ADDRESSES]);
    let ports = ports(context, &view);
    let tls = tls::service(context, &view, (&addresses, ports.as_deref().unwrap_or_default()));
    let clear_ports: &[u16] = match &ports {
        Some(ports) => ports,
        None if tls.is_some() => &[],
        None => &[PORT],
    };
    let mut taken = vec![(addresses.as_slice(), clear_ports)];
    taken.extend(tls.iter().map(|tls| (tls.addresses.as_slice(), tls.ports.as_slice())));
    let manage = manage::read(context, &view, &taken);
    let has_tls = view.find("tls").is_some_and(|entry| !entry.value.is_null());
    Service {
        addresses,
        // Who asks for TLS only does not want a clear-text port besides.
        ports: ports.unwrap_or_else(|| if has_tls { Vec::new() } else { vec![PORT] }),
        tls,
        max_concurrent_records: max_concurrent_records(context, &view),
        socket_receive_buffer_bytes: view.read(context, "socket-receive-buffer-bytes", None, |node| {
            // `null` is the documented default.
            if node.is_null() {
                return Ok(None);
            }
            in_range(value::whole(node)?, &(4096_u32..=16 << 20), " bytes").map(Some)
        }),
        allowed_networks: allowed_networks(context, &view),
        manage,
        cluster_name: manage::cluster_name(context, &view),
    }
}

/// Whether a port of its own on these addresses could not be bound on those, too.
pub fn overlap(addresses: &[IpAddr], others: &[IpAddr]) -> bool {
    let same = |one: &IpAddr, other: &IpAddr| {
        one == other || one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified())
    };
    addresses.iter().any(|one| others.iter().any(|other| same(one, other)))
}

/// `service.io-threads`, if given.
pub fn io_threads(context: &mut Context<'_>, root: &View<'_>) -> Option<usize> {
    root.section(context, "service").read(context, "io-threads", None, |node| {
        if node.is_null() {
            return Ok(None);
        }
        in_range(value::whole(node)?, &(1_u32..=100_000), " threads").map(|threads| Some(threads as usize))
    })
}

fn allowed_networks(context: &mut Context<'_>, view: &View<'_>) -> Vec<IpNet> {
    let key = "allowed-networks";
    if view.is_empty_list(context, key) {
        view.warn(context, key, "an empty list allows every network; list networks, or take it out".to_owned());
        return Vec::new();
    }
    view.list(context, key, network).unwrap_or_default()
}

fn network(node: &Node) -> Result<IpNet, String> {
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        return Err(format!("{} where a network is needed; write one such as 10.0.0.0/8", value::describe(node)));
    };
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            format!(
                "{} is no network; write an address and the length of its prefix, such as 10.0.0.0/8 or fd00::/8",
                shown(text)
            )
        })?,
    };
    // The sockets are of one family each, so that no peer ever has such an address.
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().is_some(),
        IpNet::V4(_) => false,
    };
    if mapped {
        return Err(format!("{} is an IPv4 network in IPv6 clothes; write it as IPv4", shown(text)));
    }
    if network.trunc() != network {
        return Err(format!("{} has bits beyond its prefix; write {}", shown(text), network.trunc()));
    }
    Ok(network)
}

fn protocol(context: &mut Context<'_>, view: &View<'_>) {
    view.read(context, "protocol", (), |node| {
        if node.is_null() {
            return Ok(());
        }
        match node.text() {
            Some(http) if http.to_ascii_uppercase().starts_with("HTTP") => {
                Err(format!("{} is HTTP ingress, which is not supported yet; write TCP", shown(http)))
            }
            _ => word(node, &[("TCP", ())]),
        }
    });
}

fn worker_threads(context: &mut Context<'_>, view: &View<'_>) {
    if view.find("worker-threads").is_some_and(|entry| !entry.value.is_null()) {
        view.whole(context, "worker-threads", 1..=100_000_u32, " threads", 1);
        let message = "has no effect: records are dispatched by the executors, there are no workers; take it out";
        view.warn(context, "worker-threads", message.to_owned());
    }
}

fn max_concurrent_records(context: &mut Context<'_>, view: &View<'_>) -> u32 {
    let range = 1..=10_000_000;
    let old = "max-concurrent-requests";
    if view.find(old).is_none() {
        return view.whole(context, "max-concurrent-records", range, " records", MAX_CONCURRENT_RECORDS);
    }
    if let Some(entry) = view.find("max-concurrent-records") {
        let message =
            format!("the same setting as `max-concurrent-records` on line {}; take it out", entry.key_at.line);
        view.fault(context, old, message);
    } else {
        view.warn(context, old, "taken as `max-concurrent-records`; write that".to_owned());
    }
    view.whole(context, old, range, " records", MAX_CONCURRENT_RECORDS)
}

/// `address` of a section; `None`: absent, or wrong, which is reported.
pub fn addresses(context: &mut Context<'_>, view: &View<'_>) -> Option<Vec<IpAddr>> {
    let addresses = view.list(context, "address", address)?;
    for any in addresses.iter().filter(|any| any.is_unspecified()) {
        let covered = addresses.iter().find(|other| other.is_ipv4() == any.is_ipv4() && !other.is_unspecified());
        if let Some(covered) = covered {
            let message = format!("{any} includes {covered}; write only one of the two");
            view.fault(context, "address", message);
        }
    }
    Some(addresses)
}

fn address(node: &Node) -> Result<IpAddr, String> {
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        return Err(format!("{} where an IP address is needed; write 0.0.0.0 for all", value::describe(node)));
    };
    match text {
        "localhost" => Err("`localhost` is a name; write 127.0.0.1 or ::1".to_owned()),
        "*" => Err("`*` is no IP address; write 0.0.0.0 for all".to_owned()),
        _ => text.parse().map_err(|_| {
            format!("{} is no IP address; write one of this machine, without a port, or 0.0.0.0 for all", shown(text))
        }),
    }
}

/// `port` or `ports` of a section; `None`: absent, or wrong, which is reported.
pub fn ports(context: &mut Context<'_>, view: &View<'_>) -> Option<Vec<u16>> {
    let port = |node: &Node| match value::whole(node)? {
        0 => Err("0 is any free port, which XDR would have to guess; write 1 to 65535".to_owned()),
        number => in_range(number, &(1_u16..=u16::MAX), ""),
    };
    // `ports` is the spelling of early published examples.
    let key = if view.find("ports").is_some() && view.find("port").is_none() { "ports" } else { "port" };
    if key == "port"
        && let (Some(_), Some(entry)) = (view.find("ports"), view.find("port"))
    {
        let message = format!("the same setting as `port` on line {}; keep one of the two", entry.key_at.line);
        view.fault(context, "ports", message);
    }
    view.list(context, key, port)
}
