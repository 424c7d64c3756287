//! The state of the network, from `/sys/class/net` and `/proc/net`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;

use abide_core::root::Root;

/// `IFF_UP` of netdevice(7).
const IFF_UP: u32 = 1;
/// `RTF_UP` and `RTF_REJECT` of linux/route.h.
const RTF_UP: u32 = 0x0001;
const RTF_REJECT: u32 = 0x0200;

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkState {
    /// All interfaces, by name.
    pub interfaces: Vec<Interface>,
    /// The default routes of the main table, of both families.
    pub routes: Vec<Route>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`
    pub name: String,
    /// Set up by the administrator.
    pub is_up: bool,
    /// It has a carrier, such as a plugged cable.
    pub has_carrier: bool,
    /// Its addresses, without link-local ones.
    pub addresses: Vec<IpAddr>,
}

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The interface it leads through.
    pub interface: String,
    /// Its gateway; a point-to-point link has none.
    pub gateway: Option<IpAddr>,
}

impl NetworkState {
    /// Reads the state of the network of `root`. Below a folder there are no IPv4 addresses: the kernel
    /// shows them in no file.
    ///
    /// # Errors
    /// If there is no `/sys/class/net`.
    pub fn gather(root: &Root) -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(root.path(path)).unwrap_or_default();
        let mut addresses = parse_if_inet6(&read("/proc/net/if_inet6"));
        if root.is_live() {
            addresses.extend(ipv4_addresses()?);
        }
        let mut routes = parse_route(&read("/proc/net/route"));
        routes.extend(parse_ipv6_route(&read("/proc/net/ipv6_route")));
        Ok(Self { interfaces: interfaces(root, &addresses)?, routes })
    }
}

fn interfaces(root: &Root, addresses: &[(String, IpAddr)]) -> Result<Vec<Interface>, String> {
    let folder = root.path("/sys/class/net");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(dir) = root.resolve(format!("/sys/class/net/{name}")) else { continue };
        let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        // Files there that are not interfaces (bonding_masters) have no flags.
        let Some(flags) = hex(read("flags").trim().trim_start_matches("0x")) else { continue };
        found.push(Interface {
            is_up: flags & IFF_UP != 0,
            // Reading it is an error while the interface is down.
            has_carrier: read("carrier").trim() == "1",
            addresses: addresses.iter().filter(|(on, _)| *on == name).map(|(_, a)| *a).collect(),
            name,
        });
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn ipv4_addresses() -> Result<Vec<(String, IpAddr)>, String> {
    let all = getifaddrs().map_err(|e| format!("cannot list addresses: {e}"))?;
    Ok(all
        .filter_map(|entry| {
            let address = entry.address?.as_sockaddr_in()?.ip();
            (!address.is_link_local()).then_some((entry.interface_name, IpAddr::V4(address)))
        })
        .collect())
}

/// `ADDRESS INDEX PREFIX SCOPE FLAGS NAME`, in hexadecimal.
fn parse_if_inet6(text: &str) -> Vec<(String, IpAddr)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = ipv6(words.next()?)?;
            let name = words.nth(4)?;
            (!address.is_unicast_link_local()).then_some((name.to_owned(), IpAddr::V6(address)))
        })
        .collect()
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`; addresses are in the byte order of
/// the network, printed as a number of the machine.
fn parse_route(text: &str) -> Vec<Route> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[interface, destination, gateway, flags, _, _, _, mask, ..] = words.as_slice() else {
                return None;
            };
            if hex(destination)? != 0 || hex(mask)? != 0 || !is_usable(hex(flags)?) {
                return None;
            }
            let gateway = Ipv4Addr::from(hex(gateway)?.to_ne_bytes());
            let gateway = (!gateway.is_unspecified()).then_some(IpAddr::V4(gateway));
            Some(Route { interface: interface.to_owned(), gateway })
        })
        .collect()
}

/// `DESTINATION PREFIX SOURCE PREFIX NEXTHOP METRIC REFCNT USE FLAGS NAME`.
fn parse_ipv6_route(text: &str) -> Vec<Route> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[destination, prefix, _, _, gateway, _, _, _, flags, interface] = words.as_slice() else {
                return None;
            };
            let is_default = ipv6(destination)?.is_unspecified() && hex(prefix)? == 0;
            if !is_default || !is_usable(hex(flags)?) || interface == "lo" {
                return None;
            }
            let gateway = ipv6(gateway)?;
            let gateway = (!gateway.is_unspecified()).then_some(IpAddr::V6(gateway));
            Some(Route { interface: interface.to_owned(), gateway })
        })
        .collect()
}

fn is_usable(flags: u32) -> bool {
    flags & RTF_UP != 0 && flags & RTF_REJECT == 0
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

fn ipv6(text: &str) -> Option<Ipv6Addr> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_default_route_and_its_gateway_are_found() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                    eth0\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(
            parse_route(text),
            [Route { interface: "eth0".into(), gateway: Some("10.0.2.2".parse().unwrap()) }]
        );
    }

    #[test]
    fn a_rejecting_ipv6_route_is_no_route() {
        let zeros = "0".repeat(32);
        let text = format!(
            "{zeros} 00 {zeros} 00 fe800000000000000000000000000002 00000400 00000001 00000000 00000003 eth0\n\
             {zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200 lo\n"
        );
        assert_eq!(
            parse_ipv6_route(&text),
            [Route { interface: "eth0".into(), gateway: Some("fe80::2".parse().unwrap()) }]
        );
    }

    #[test]
    fn link_local_addresses_do_not_count() {
        let text = "fe80000000000000505400fffe123456 02 40 20 80     eth0\n\
                    20010db8000000000000000000000007 02 40 00 80     eth0\n";
        assert_eq!(parse_if_inet6(text), [("eth0".to_owned(), "2001:db8::7".parse().unwrap())]);
    }

    #[test]
    fn an_interface_that_is_down_has_no_carrier() {
        let dir = tempfile::tempdir().unwrap();
        for (name, flags, carrier) in [("eth0", "0x1003\n", Some("1\n")), ("eth1", "0x1002\n", None)] {
            let net = dir.path().join("sys/class/net").join(name);
            fs::create_dir_all(&net).unwrap();
            fs::write(net.join("flags"), flags).unwrap();
            if let Some(carrier) = carrier {
                fs::write(net.join("carrier"), carrier).unwrap();
            }
        }
        fs::write(dir.path().join("sys/class/net/bonding_masters"), "").unwrap();
        let state = NetworkState::gather(&Root::at(dir.path())).unwrap();
        let states: Vec<(bool, bool)> = state.interfaces.iter().map(|i| (i.is_up, i.has_carrier)).collect();
        assert_eq!(states, [(true, true), (false, false)]);
    }
}
