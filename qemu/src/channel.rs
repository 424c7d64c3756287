//! Sockets between the harness and QEMU: abstract ones, so that no file is left behind and no
//! path is too long.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::timeline::{Event, Timeline};
use crate::{Error, Result};

/// A socket that waits for QEMU to connect: so nothing that the guest sends early is lost.
pub struct Channel {
    name: String,
    listener: UnixListener,
}

impl Channel {
    /// A new socket with a name that no other machine uses.
    pub fn new(purpose: &str) -> Result<Channel> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("abide-qemu-{}-{number}-{purpose}", std::process::id());
        let listener = SocketAddr::from_abstract_name(&name)
            .and_then(|address| UnixListener::bind_addr(&address))
            .map_err(Error::doing(format!("bind the abstract socket {name}")))?;
        Ok(Channel { name, listener })
    }

    /// The argument of QEMU's `-chardev` that connects to this socket.
    pub fn chardev(&self, id: &str) -> String {
        format!("socket,id={id},path={},abstract=on,tight=on", self.name)
    }

    /// Waits for QEMU to connect.
    ///
    /// # Errors
    /// When QEMU did not connect within `limit`, or ended before, most likely because it refused
    /// its command line.
    pub fn accept(self, limit: Duration, timeline: &Arc<Timeline>) -> Result<UnixStream> {
        let name = self.name.clone();
        let (sender, accepted) = channel();
        // Two threads race; the result of the second one is dropped.
        let (ended, timeline) = (sender.clone(), Arc::clone(timeline));
        std::thread::spawn(move || {
            let exited = |event: &Event| (*event == Event::Exited).then_some(());
            timeline.wait(0, limit, exited).ok();
            ended.send(Err(io::ErrorKind::TimedOut.into())).ok();
        });
        std::thread::spawn(move || {
            let stream = self.listener.accept().map(|(stream, _)| stream);
            sender.send(stream).ok();
        });
        let stream = accepted.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        if stream.is_err() {
            // Wakes the thread that still waits, so that it ends.
            SocketAddr::from_abstract_name(&name).and_then(|address| UnixStream::connect_addr(&address)).ok();
        }
        stream.map_err(Error::doing(format!("wait for QEMU to connect to {name}")))
    }
}
