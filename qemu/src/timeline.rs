//! What happened to a machine, in order: the one place that the reader threads write to and that
//! a test waits on.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One start of the guest, as its agent announced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's `boot_id`: new for each boot.
    pub id: String,
    /// `IMAGE_VERSION` of the system that runs.
    pub version: String,
}

/// Something that happened to a running machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line on the serial console, without control sequences.
    Line(String),
    /// The guest's agent is there.
    Ready(Boot),
    /// The guest's agent answered a command: exit status and base64 text.
    Answer(String),
    /// The machine was reset; true when the guest itself asked for it.
    Reset(bool),
    /// The machine is being switched off; true when the guest itself asked for it.
    Shutdown(bool),
    /// The hardware watchdog expired.
    Watchdog,
    /// A migration (saving or loading a state) changed its status.
    Migration(String),
    /// Any other event of QEMU's monitor, by its name.
    Monitor(String),
    /// QEMU ended.
    Exited,
}

/// Why waiting stopped without the thing waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Time ran out.
    Late,
    /// QEMU ended.
    Ended,
}

/// The events of one run of QEMU.
#[derive(Debug, Default)]
pub struct Timeline {
    events: Mutex<Vec<Event>>,
    changed: Condvar,
}

impl Timeline {
    /// Adds an event and wakes the threads that wait.
    pub fn push(&self, event: Event) {
        self.lock().push(event);
        self.changed.notify_all();
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// A copy of the events from index `from` on.
    pub fn since(&self, from: usize) -> Vec<Event> {
        self.lock().iter().skip(from).cloned().collect()
    }

    /// Waits until an event at index `from` or later satisfies `pick`; returns what `pick` made of
    /// it and the index after it.
    pub fn wait<T>(
        &self,
        from: usize,
        limit: Duration,
        mut pick: impl FnMut(&Event) -> Option<T>,
    ) -> Result<(T, usize), Missed> {
        let deadline = Instant::now() + limit;
        let mut next = from;
        let mut events = self.lock();
        loop {
            let mut ended = false;
            for event in events.iter().skip(next) {
                next += 1;
                if let Some(found) = pick(event) {
                    return Ok((found, next));
                }
                ended |= *event == Event::Exited;
            }
            if ended || events.last() == Some(&Event::Exited) {
                return Err(Missed::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Missed::Late);
            }
            events = self.changed.wait_timeout(events, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;

    fn line(event: &Event) -> Option<String> {
        match event {
            Event::Line(text) => Some(text.clone()),
            _ => None,
        }
    }

    #[test]
    fn waiting_returns_as_soon_as_the_event_arrives() {
        let timeline = Arc::new(Timeline::default());
        let writer = Arc::clone(&timeline);
        let thread = std::thread::spawn(move || {
            writer.push(Event::Watchdog);
            writer.push(Event::Line("hello".into()));
        });
        let (text, next) = timeline.wait(0, Duration::from_secs(60), line).unwrap();
        thread.join().unwrap();
        assert_eq!((text.as_str(), next), ("hello", 2));
    }

    #[test]
    fn waiting_ends_with_the_machine() {
        let timeline = Timeline::default();
        timeline.push(Event::Exited);
        assert_eq!(timeline.wait(0, Duration::from_secs(60), line), Err(Missed::Ended));
        assert_eq!(timeline.wait(1, Duration::from_secs(60), line), Err(Missed::Ended));
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let timeline = Timeline::default();
        timeline.push(Event::Reset(true));
        assert_eq!(timeline.wait(0, Duration::from_millis(5), line), Err(Missed::Late));
    }
}
