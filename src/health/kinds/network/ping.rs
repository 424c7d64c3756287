//! Whether a neighbour answers an ICMP echo (RFC 792, RFC 4443) or, for IPv4, ARP: some gateways do not
//! answer echoes, but all answer ARP.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto, socket,
};

use abide_core::root::Root;

const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);
/// Some hosts drop echoes that carry no data.
const PAYLOAD: &[u8; 16] = b"abide check\0\0\0\0\0";
/// Discard (RFC 863): a datagram that has no effect.
const DISCARD: u16 = 9;
/// `ATF_COM` of linux/if_arp.h: the neighbour's hardware address is known to be right.
const ATF_COM: u32 = 0x02;
/// How long to wait for a reply before the next echo is sent.
const ROUND: Duration = Duration::from_millis(500);

/// Whether `host`, a neighbour on `interface`, answers within `limit`.
pub(super) fn answers(root: &Root, host: IpAddr, interface: &str, limit: Duration) -> io::Result<bool> {
    let end = Instant::now() + limit;
    let socket = Echo::open(host, interface)?;
    let mut sequence = 0;
    loop {
        sequence += 1;
        // If the neighbour does not exist, already the second try fails (EHOSTUNREACH).
        if let Err(e) = socket.send(sequence)
            && Instant::now() >= end
        {
            return Err(e);
        }
        let left = end.saturating_duration_since(Instant::now());
        if socket.hears(left.min(ROUND))? || knows_neighbour(root, host, sequence) {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
    }
}

/// Used only after the second echo: the entry may be that of a neighbour that has disappeared, and only
/// a new datagram makes the kernel query it again.
fn knows_neighbour(root: &Root, host: IpAddr, sequence: u16) -> bool {
    let IpAddr::V4(host) = host else { return false };
    if sequence < 2 {
        return false;
    }
    // An echo on a raw socket makes the kernel query the neighbour, too; this is for processes that may
    // not open one.
    if let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) {
        socket.send_to(&[], (host, DISCARD)).ok();
    }
    fs::read_to_string(root.path("/proc/net/arp")).is_ok_and(|table| is_complete(&table, host))
}

/// `IP address  HW type  Flags  HW address  Mask  Device`
fn is_complete(table: &str, host: Ipv4Addr) -> bool {
    table.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().and_then(|word| word.parse::<Ipv4Addr>().ok());
        let flags = words.nth(1).and_then(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        address == Some(host) && flags.is_some_and(|flags| flags & ATF_COM != 0)
    })
}

struct Echo {
    fd: OwnedFd,
    host: IpAddr,
    scope: u32,
    is_raw: bool,
}

impl Echo {
    fn open(host: IpAddr, interface: &str) -> io::Result<Self> {
        let (family, protocol) = match host {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let open = |kind| socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, protocol);
        // A raw socket takes CAP_NET_RAW, the other kind net.ipv4.ping_group_range.
        let (fd, is_raw) = match open(SockType::Raw) {
            Ok(fd) => (fd, true),
            Err(Errno::EPERM | Errno::EACCES) => (open(SockType::Datagram)?, false),
            Err(e) => return Err(e.into()),
        };
        let scope = nix::net::if_::if_nametoindex(interface).unwrap_or(0);
        Ok(Self { fd, host, scope, is_raw })
    }

    fn send(&self, sequence: u16) -> io::Result<()> {
        let packet = echo(self.host, sequence);
        let fd = self.fd.as_raw_fd();
        match self.host {
            IpAddr::V4(host) => {
                let [a, b, c, d] = host.octets();
                sendto(fd, &packet, &SockaddrIn::new(a, b, c, d, 0), MsgFlags::empty())?
            }
            IpAddr::V6(host) => {
                let to = SockaddrIn6::from(SocketAddrV6::new(host, 0, 0, self.scope));
                sendto(fd, &packet, &to, MsgFlags::empty())?
            }
        };
        Ok(())
    }

    /// Whether an answer to one of our echoes comes in within `limit`.
    fn hears(&self, limit: Duration) -> io::Result<bool> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&self.fd), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(e.into()),
            }
            let mut buffer = [0; 256];
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(count) if self.is_confirmation(buffer.get(..count).unwrap_or_default()) => {
                    return Ok(true);
                }
                // A reply to another process, or the host cannot be reached yet.
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR | Errno::EHOSTUNREACH | Errno::ECONNREFUSED) => {}
                Err(e) => return Err(e.into()),
            }
            if Instant::now() >= end {
                return Ok(false);
            }
        }
    }

    /// A raw socket receives all replies, also those to other processes; for IPv4 with the IP header.
    fn is_confirmation(&self, packet: &[u8]) -> bool {
        let (from, message) = match (self.host, self.is_raw) {
            (IpAddr::V4(_), true) => match split_ipv4(packet) {
                Some((from, message)) => (Some(IpAddr::V4(from)), message),
                None => return false,
            },
            _ => (None, packet),
        };
        let reply = if self.host.is_ipv4() { ECHO_V4.1 } else { ECHO_V6.1 };
        let &[kind, 0, _, _, id_high, id_low, _, _, ..] = message else { return false };
        let is_ours = !self.is_raw || [id_high, id_low] == identifier();
        kind == reply && is_ours && from.is_none_or(|from| from == self.host)
    }
}

fn split_ipv4(packet: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let &[a, b, c, d] = packet.get(12..16)? else { return None };
    Some((Ipv4Addr::new(a, b, c, d), packet.get(header..)?))
}

/// Datagram sockets get an identifier from the kernel.
fn identifier() -> [u8; 2] {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    [high, low]
}

fn echo(host: IpAddr, sequence: u16) -> Vec<u8> {
    let kind = if host.is_ipv4() { ECHO_V4.0 } else { ECHO_V6.0 };
    let build = |sum: [u8; 2]| {
        let mut packet = vec![kind, 0];
        for part in [&sum[..], &identifier()[..], &sequence.to_be_bytes()[..], &PAYLOAD[..]] {
            packet.extend_from_slice(part);
        }
        packet
    };
    // The kernel fills in the sum of ICMPv6, which covers addresses that we do not know.
    match host {
        IpAddr::V4(_) => build(checksum(&build([0, 0])).to_be_bytes()),
        IpAddr::V6(_) => build([0, 0]),
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let mut sum: u32 = packet
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(u16::from_be_bytes([high, 0])),
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_to_zero() {
        assert_eq!(checksum(&echo("192.0.2.1".parse().unwrap(), 7)), 0);
    }

    #[test]
    fn only_a_complete_entry_of_the_neighbour_table_counts() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.0.2.2         0x1         0x2         52:55:0a:00:02:02     *        eth0\n\
                     10.0.2.3         0x1         0x0         00:00:00:00:00:00     *        eth0\n";
        assert!(is_complete(table, "10.0.2.2".parse().unwrap()));
        assert!(!is_complete(table, "10.0.2.3".parse().unwrap()));
        assert!(!is_complete(table, "10.0.2.4".parse().unwrap()));
    }

    #[test]
    fn the_loopback_answers_where_echoes_are_allowed() {
        match answers(&Root::live(), "127.0.0.1".parse().unwrap(), "lo", Duration::from_secs(10)) {
            Ok(answered) => assert!(answered),
            // No right to open either kind of socket.
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
