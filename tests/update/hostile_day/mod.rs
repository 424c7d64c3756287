//! A day of one machine in a hostile network, in fast motion: what the machine remembers is moved into the past between
//! its runs. `ABIDE_SEED` repeats a day, and `ABIDE_DAYS` tries more of them.

mod network;

use std::io::Write;

use abide_testing::dice::Dice;

use self::network::Network;
use super::kept::pass;
use super::*;

/// The day of every run of the tests.
const SEED: u64 = 20_261_130;

/// A new release appears that often, in minutes, and the last one long before the day ends.
const RELEASE_EVERY: i64 = 97;
const LAST_RELEASE: i64 = 1000;

/// The file of this release is late by so many minutes.
const LATE: i64 = 5;
const LATE_BY: i64 = 60;

const DAY: i64 = 24 * 60;

/// A machine, its feed, and how the day goes on.
struct Story {
    feed: Feed,
    network: Network,
    tree: Tree,
    dice: Dice,
    /// The version that runs, and the slot that it runs from.
    running: (String, &'static str),
    newest: String,
    lists: u32,
    looks: usize,
    runs: usize,
}

impl Story {
    fn begin(seed: u64) -> Self {
        let feed = Feed::new();
        let network = Network::of(&feed.path(""), seed);
        let tree = machine(&feed);
        fs::write(tree.path("etc/machine-id"), format!("{:032x}\n", seed | 1)).unwrap();
        let text = format!(
            "[update]\nfeed = '{}'\ninterval = '1h'\njitter = 0\ndownload_spread = 0\n\
             [download]\ngive_up_after = '0s'\n",
            network.url()
        );
        fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
        Self {
            feed,
            network,
            tree,
            dice: Dice(seed ^ 0xda7),
            running: ("1.0".into(), "a"),
            newest: "1.0".into(),
            lists: 0,
            looks: 0,
            runs: 0,
        }
    }

    /// Publishes a version for the slot that is free now.
    fn publish(&mut self, version: &str) {
        let slot = if self.running.1 == "a" { "b" } else { "a" };
        self.network.keep_list();
        self.feed.put(&format!("edge_{version}.raw.zst"), &Image::new(version, slot).zst());
        self.lists += 1;
        self.feed.sh(&format!(
            "rm -f SHA256SUMS*; sha256sum $(ls) > ../sums; mv ../sums SHA256SUMS; \
             minisign -S -s ../ours.key -m SHA256SUMS -t timestamp:{} >/dev/null",
            1_700_000_000 + self.lists
        ));
        self.newest = version.to_owned();
    }

    /// The proxy variables of a run: none, one that works, one that is away, and one that is mistyped.
    fn proxy(&mut self) -> Vec<(&'static str, String)> {
        match self.dice.roll(20) {
            0..=2 => vec![("http_proxy", self.network.url())],
            3 => vec![("all_proxy", "http://127.0.0.1:9".into())],
            4 => vec![("all_proxy", "http:/127.0.0.1:x".into())],
            5 => vec![
                ("all_proxy", "http://127.0.0.1:9".into()),
                ("no_proxy", "10.0.0.0/8, 127.0.0.0/8".into()),
            ],
            _ => vec![],
        }
    }

    /// Runs the units as their timer does, and boots where they have asked for it.
    fn wake(&mut self) {
        let variables = self.proxy();
        for part in ["--survey", "--fetch", "--install", "--boot"] {
            let run = Run::of(self.tree.command().envs(variables.clone()).args(["update", part]));
            assert!([0, 2, 3, 7].contains(&run.code), "{part}: {run:?}");
        }
        let looks = self.network.looks();
        assert!(looks <= 1, "{looks} looks at the list in one run");
        self.looks += looks;
        self.runs += 1;
        if reboots(&self.tree) {
            let version = self.tree.state().update.unwrap().version;
            self.tree.boot_with_initrd(&version);
            self.tree.abide(&["commit", "--now"]).ok();
            self.running = (version, if self.running.1 == "a" { "b" } else { "a" });
        }
    }

    /// What happens in the world at this minute.
    fn happen(&mut self, minute: i64, newest: &mut i64) {
        let number = minute.min(LAST_RELEASE) / RELEASE_EVERY + 2;
        if number > *newest {
            *newest = number;
            self.publish(&format!("{number}.0"));
        } else if self.running.0 != self.newest && self.newest_slot_is_taken() {
            // The newest was made for the slot that runs meanwhile.
            self.publish(&format!("{number}.1"));
        }
        let is_late = number == LATE && minute < (LATE - 2) * RELEASE_EVERY + LATE_BY;
        self.network.withhold(is_late.then(|| format!("edge_{LATE}.")));
        self.network.set_storm(self.dice.happens(60));
    }

    fn newest_slot_is_taken(&self) -> bool {
        let slot = if self.running.1 == "a" { "b" } else { "a" };
        let bytes = fs::read(self.feed.path(&format!("edge_{}.raw.zst", self.newest))).unwrap();
        bytes != Image::new(&self.newest, slot).zst()
    }

    /// Time passes, and the clock jumps now and then.
    fn sleep(&mut self) -> i64 {
        let minutes = 4 + i64::try_from(self.dice.roll(17)).unwrap();
        let jump = match self.dice.roll(30) {
            0 => -90,
            1 => 600,
            _ => 0,
        };
        pass(&self.tree, (minutes + jump) * 60);
        minutes
    }
}

fn live_through(seed: u64) {
    let mut story = Story::begin(seed);
    let (mut minute, mut newest) = (0, 1);
    while minute < DAY {
        story.happen(minute, &mut newest);
        story.wake();
        minute += story.sleep();
    }
    let sent = story.network.sent();
    let ratio = sent.bytes as f64 / sent.needed as f64;
    let Story { runs, looks, running, newest, .. } = &story;
    let line = format!(
        "hostile day {seed}: {} bytes fetched, {} needed, ratio {ratio:.3}; {} requests for images, {looks} looks at the \
         list in {runs} runs; {} runs, newest {newest}\n",
        sent.bytes, sent.needed, sent.requests, running.0
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert_eq!(&running.0, newest, "ABIDE_SEED={seed}");
    assert!(ratio <= 1.1, "ABIDE_SEED={seed}: {ratio}");
}

#[test]
fn a_machine_gets_through_a_day_of_a_hostile_network() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("ABIDE_SEED").unwrap_or(SEED);
    for seed in first..first + number("ABIDE_DAYS").unwrap_or(1) {
        live_through(seed);
    }
}
