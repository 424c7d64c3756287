//! `kind = "network"`: interface, address, route, gateway, names and connections.

use abide_core::config::form::{Flag, Optional, Text, TextRule, Word, Words};
use abide_core::config::section::Section;
use abide_core::error::Result;

use crate::config::described::DescribedText;
use crate::config::forms::{List, Pattern};
use crate::config::table::settings;

settings! {
    /// `kind = "network"`. By default some interface other than the loopback is up with a carrier and an address,
    /// there is a default route, and its gateway answers.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NetworkCheck checked by has_gateway {
        /// The names of interfaces. An empty list means any interface except the loopback.
        pub interfaces: List<Pattern> = vec![];
        /// `"any"`: one usable interface is enough. `"all"`: each pattern must have an interface, and all of these
        /// must be usable.
        pub all_interfaces as "need": Word<Need> = false;
        /// The addresses that an interface needs. Link-local ones do not count.
        pub family: Word<Family> = Family::Any;
        /// Whether there must be a default route through a usable interface.
        pub default_route: Flag = true;
        /// Whether the gateway of the default route must answer an ICMP echo or, for IPv4, ARP.
        pub gateway: Optional<Flag> = default_route.then_some(true), otherwise "as `default_route`", example true;
        /// Names that must resolve.
        pub resolve: List<Text> = vec![];
        /// Addresses that must accept a TCP connection. An IPv6 address needs brackets.
        pub connect: List<HostAndPort> = vec![];
    }
}

/// Whether all interfaces are needed.
#[derive(Debug)]
pub struct Need;

impl Words for Need {
    type Value = bool;
    const WORDS: &'static [(&'static str, bool)] = &[("any", false), ("all", true)];
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

impl Words for Family {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] =
        &[("any", Self::Any), ("ipv4", Self::Ipv4), ("ipv6", Self::Ipv6), ("both", Self::Both)];
}

/// `HOST:PORT`
#[derive(Debug)]
pub struct HostAndPort;

impl TextRule for HostAndPort {
    fn problem(text: &str) -> Option<String> {
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        let fits = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_port(port));
        (!fits).then(|| format!("'{text}' is not HOST:PORT"))
    }
}

impl DescribedText for HostAndPort {
    const NAME: &'static str = "`HOST:PORT`";
}

impl NetworkCheck {
    fn has_gateway(&self, section: &Section<'_>) -> Result<()> {
        if self.gateway == Some(true) && !self.default_route {
            return Err(section
                .error_at("gateway", "needs default_route = true, because it checks that route's gateway"));
        }
        Ok(())
    }
}
