//! The kind that looks at the network.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "network"`. Without any key of its own: some interface other than the loopback is up
/// with a carrier and an address, there is a default route, and its gateway answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkCheck {
    /// Names of interfaces, as shell patterns; empty means any but the loopback.
    pub interfaces: Vec<String>,
    /// Whether all of [`NetworkCheck::interfaces`] must be usable, or any of them.
    pub all_interfaces: bool,
    /// The kinds of address that are needed.
    pub family: Family,
    /// Whether a default route is needed.
    pub default_route: bool,
    /// Whether the gateway of the default route must answer.
    pub gateway: bool,
    /// Names that must resolve.
    pub resolve: Vec<String>,
    /// `HOST:PORT`s that must accept a connection.
    pub connect: Vec<String>,
}

/// Which addresses an interface must have. Link-local ones do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// At least one of either.
    Any,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// One of each.
    Both,
}

impl NetworkCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        let families =
            [("any", Family::Any), ("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6), ("both", Family::Both)];
        let check = Self {
            interfaces: section.texts("interfaces")?.unwrap_or_default(),
            all_interfaces: section.word("need", &[("any", false), ("all", true)])?.unwrap_or(false),
            family: section.word("family", &families)?.unwrap_or(Family::Any),
            default_route: section.flag("default_route")?.unwrap_or(true),
            gateway: section.flag("gateway")?.unwrap_or(true),
            resolve: section.texts("resolve")?.unwrap_or_default(),
            connect: section.texts("connect")?.unwrap_or_default(),
        };
        if let Some(target) = check.connect.iter().find(|target| !is_host_and_port(target)) {
            return Err(section.error_at("connect", &format!("'{target}' is not HOST:PORT")));
        }
        if check.gateway && !check.default_route && section.has("gateway") {
            return Err(section.error_at("gateway", "needs default_route = true: it is that route's gateway"));
        }
        Ok(Self { gateway: check.gateway && check.default_route, ..check })
    }
}

fn is_host_and_port(target: &str) -> bool {
    target
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}
