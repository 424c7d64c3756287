//! A proxy in the environment that cannot be used.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::doctor::finding::Finding;
use crate::http::proxy_problem;

/// The problems of the proxies for the servers of the configuration.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let lock = config.update.fleetlock.as_ref().map(|lock| lock.url.as_str());
    let servers = [config.update.source(), lock, config.events.url.as_deref()];
    let problems: BTreeSet<String> = servers.into_iter().flatten().filter_map(proxy_problem).collect();
    let finding = |problem: String| {
        let (what, remedy) = problem.rsplit_once("; ").unwrap_or((&problem, "set it to http://HOST:PORT"));
        Finding::warning("proxy", what)
            .because("requests fail: Abide does not connect past a proxy that is configured")
            .remedy(format!(
                "{remedy}, here and in the environment of the units (`systemctl show-environment`)"
            ))
    };
    problems.into_iter().map(finding).collect()
}
