//! The check: usable interfaces, default routes, gateways, names and connections.

use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::config::kinds::{Family, NetworkCheck};
use crate::health::kinds::network::ping;
use crate::health::kinds::network::state::{Interface, NetworkState, Route};
use crate::health::pattern;
use crate::health::probe::{Probe, ProbeResult};
use abide_core::root::Root;

/// The check.
#[derive(Debug)]
pub struct NetworkProbe {
    config: NetworkCheck,
    root: Root,
}

impl NetworkProbe {
    /// A check of the interfaces of `root`.
    #[must_use]
    pub fn new(config: &NetworkCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone() }
    }

    fn look(&self, end: Instant) -> Result<(), String> {
        let state = NetworkState::gather(&self.root)?;
        let usable = usable(&self.config, &state)?;
        if self.config.default_route {
            let routes = default_routes(&state, &usable)?;
            if self.config.gateway == Some(true) {
                ask_gateways(&self.root, &routes, end)?;
            }
        }
        for name in &self.config.resolve {
            addresses(name, 0)?;
        }
        for target in &self.config.connect {
            connect(target, end)?;
        }
        Ok(())
    }
}

impl Probe for NetworkProbe {
    // Checks once; all requests together take at most `limit`.
    fn run(&mut self, limit: Duration) -> ProbeResult {
        let end = Instant::now() + limit;
        match self.look(end) {
            Ok(()) => ProbeResult::Pass,
            // A network can recover, so nothing here fails permanently.
            Err(reason) => ProbeResult::NotYet(reason),
        }
    }
}

/// The interfaces that are up, have a carrier and the addresses asked for.
fn usable<'f>(config: &NetworkCheck, state: &'f NetworkState) -> Result<Vec<&'f Interface>, String> {
    let is_named = |name: &str| config.interfaces.iter().any(|pattern| pattern::matches(pattern, name));
    let wanted = |name: &str| if config.interfaces.is_empty() { name != "lo" } else { is_named(name) };
    let (mut usable, mut problems) = (Vec::new(), Vec::new());
    for interface in state.interfaces.iter().filter(|i| wanted(&i.name)) {
        match problem(interface, config.family) {
            None => usable.push(interface),
            Some(problem) => problems.push(format!("{} {problem}", interface.name)),
        }
    }
    let missing = config
        .interfaces
        .iter()
        .filter(|pattern| !state.interfaces.iter().any(|i| pattern::matches(pattern, &i.name)))
        .map(|pattern| format!("there is no interface {pattern}"));
    problems.extend(missing);
    if problems.is_empty() && usable.is_empty() {
        return Err("there is no network interface".into());
    }
    if usable.is_empty() || (config.all_interfaces && !problems.is_empty()) {
        return Err(problems.join(", "));
    }
    Ok(usable)
}

fn problem(interface: &Interface, family: Family) -> Option<&'static str> {
    if !interface.is_up {
        return Some("is down");
    }
    if !interface.has_carrier {
        return Some("has no carrier");
    }
    let v4 = interface.addresses.iter().any(IpAddr::is_ipv4);
    let v6 = interface.addresses.iter().any(IpAddr::is_ipv6);
    match family {
        Family::Any if !v4 && !v6 => Some("has no address"),
        Family::Ipv4 | Family::Both if !v4 => Some("has no IPv4 address"),
        Family::Ipv6 | Family::Both if !v6 => Some("has no IPv6 address"),
        _ => None,
    }
}

fn default_routes<'f>(state: &'f NetworkState, usable: &[&Interface]) -> Result<Vec<&'f Route>, String> {
    let routes: Vec<&Route> =
        state.routes.iter().filter(|route| usable.iter().any(|i| i.name == route.interface)).collect();
    if routes.is_empty() {
        return Err("no default route".into());
    }
    Ok(routes)
}

/// One gateway that answers is enough. A route without a gateway (of a modem) has nothing to query.
fn ask_gateways(root: &Root, routes: &[&Route], end: Instant) -> Result<(), String> {
    let mut silent = Vec::new();
    for (asked, route) in routes.iter().enumerate() {
        let Some(gateway) = route.gateway else { return Ok(()) };
        // Each gets its share of the time that is left.
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(routes.len() - asked).unwrap_or(1).max(1);
        match ping::answers(root, gateway, &route.interface, share) {
            Ok(true) => return Ok(()),
            Ok(false) => silent.push(format!("gateway {gateway} does not answer")),
            Err(e) => silent.push(format!("gateway {gateway}: {e}")),
        }
    }
    Err(silent.join(", "))
}

fn addresses(name: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, String> {
    match (name, port).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(e) => Err(format!("{name} does not resolve: {e}")),
    }
}

fn connect(target: &str, end: Instant) -> Result<(), String> {
    let bad = || format!("{target} is not HOST:PORT");
    let (host, port) = target.rsplit_once(':').ok_or_else(bad)?;
    // An IPv6 address is written in brackets before a port.
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let mut last = format!("{host} has no address");
    for address in addresses(host, port.parse().map_err(|_| bad())?)? {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("no connection to {target}: timed out"));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(_) => return Ok(()),
            Err(e) => last = format!("no connection to {target}: {e}"),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::net::TcpListener;

    fn interface(name: &str, is_up: bool, has_carrier: bool, addresses: &[&str]) -> Interface {
        Interface {
            name: name.into(),
            is_up,
            has_carrier,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        }
    }

    fn check(text: &str) -> NetworkCheck {
        use crate::config::{CheckKind, Config};
        let text = format!("[[check]]\nname = 'n'\nkind = 'network'\n{text}");
        match Config::parse("f", &text).unwrap().checks.remove(0).kind {
            CheckKind::Network(check) => check,
            other => panic!("{other:?}"),
        }
    }

    fn state(interfaces: Vec<Interface>) -> NetworkState {
        NetworkState { interfaces, routes: Vec::new() }
    }

    fn names(found: Result<Vec<&Interface>, String>) -> Result<Vec<String>, String> {
        found.map(|list| list.iter().map(|i| i.name.clone()).collect())
    }

    #[test]
    fn any_interface_but_the_loopback_will_do() {
        let state = state(vec![
            interface("lo", true, true, &["127.0.0.1"]),
            interface("eth0", false, false, &[]),
            interface("eth1", true, true, &["192.0.2.7"]),
        ]);
        assert_eq!(names(usable(&check(""), &state)), Ok(vec!["eth1".into()]));
    }

    #[test]
    fn what_is_wrong_with_each_interface_is_told() {
        let state = state(vec![
            interface("eth0", false, false, &[]),
            interface("eth1", true, false, &[]),
            interface("eth2", true, true, &[]),
        ]);
        assert_eq!(
            names(usable(&check(""), &state)),
            Err("eth0 is down, eth1 has no carrier, eth2 has no address".into())
        );
    }

    #[test]
    fn all_named_interfaces_may_be_needed() {
        let state = state(vec![interface("eth0", true, true, &["192.0.2.7"])]);
        let all = check("interfaces = ['eth0', 'wwan*']\nneed = 'all'");
        assert_eq!(names(usable(&all, &state)), Err("there is no interface wwan*".into()));
        let any = check("interfaces = ['eth0', 'wwan*']");
        assert_eq!(names(usable(&any, &state)), Ok(vec!["eth0".into()]));
    }

    #[test]
    fn the_family_of_the_address_matters_where_it_is_asked_for() {
        let state = state(vec![interface("eth0", true, true, &["192.0.2.7"])]);
        assert!(usable(&check("family = 'ipv4'"), &state).is_ok());
        assert_eq!(names(usable(&check("family = 'both'"), &state)), Err("eth0 has no IPv6 address".into()));
    }

    #[test]
    fn a_default_route_through_an_unusable_interface_does_not_count() {
        let eth0 = interface("eth0", true, true, &["192.0.2.7"]);
        let mut state = state(vec![eth0.clone()]);
        state.routes = vec![Route { interface: "eth1".into(), gateway: None }];
        assert_eq!(default_routes(&state, &[&eth0]).unwrap_err(), "no default route");
        state.routes.push(Route { interface: "eth0".into(), gateway: None });
        assert_eq!(default_routes(&state, &[&eth0]).unwrap().len(), 1);
    }

    #[test]
    fn a_listening_port_can_be_connected_to_and_a_closed_one_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let end = Instant::now() + Duration::from_secs(10);
        assert_eq!(connect(&target, end), Ok(()));
        drop(listener);
        assert!(connect(&target, end).unwrap_err().starts_with("no connection to 127.0.0.1:"));
    }
}
