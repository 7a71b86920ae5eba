//! Whose process is at the other end of a connection on loopback.
//!
//! Everybody on a machine may connect to its loopback. Linux says which uid a socket belongs to: of any other than one
//! that asked for a link, the connection is closed unread, so that a link or a cookie that somebody else came by (from a list
//! of processes, from a server of theirs that a browser was led to) opens nothing for them. Where the system does
//! not say it, nobody is let in by this file: fail closed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};

/// Most bytes of the table that are read: some 500,000 sockets.
const MAX_TABLE: u64 = 64 * 1024 * 1024;

/// The user of the client's socket of this connection; nobody where the system does not say it. Reads a file: not for the
/// thread that answers.
pub(crate) fn user_of(client: SocketAddr, server: SocketAddr) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        // A client may have made its socket for both families.
        [("/proc/net/tcp", false), ("/proc/net/tcp6", true)]
            .into_iter()
            .find_map(|(path, mapped)| {
                let wanted = [client, server].map(|address| entry(address, mapped));
                let table = BufReader::new(File::open(path).ok()?.take_at_most());
                table
                    .lines()
                    .map_while(Result::ok)
                    .find_map(|line| owner(&line, &wanted))
            })
    }
    #[cfg(not(target_os = "linux"))]
    {
        // Unverified: such a system has no table, and the token alone decides.
        let _ = (client, server);
        Some(nix::unistd::geteuid().as_raw())
    }
}

#[cfg(target_os = "linux")]
trait Bounded {
    fn take_at_most(self) -> std::io::Take<File>;
}

#[cfg(target_os = "linux")]
impl Bounded for File {
    fn take_at_most(self) -> std::io::Take<File> {
        std::io::Read::take(self, MAX_TABLE)
    }
}

/// An address as the table writes it: the bytes of each word as this machine orders them, in hex.
fn entry(address: SocketAddr, mapped: bool) -> String {
    let word = |bytes: &[u8; 4]| format!("{:08X}", u32::from_ne_bytes(*bytes));
    let IpAddr::V4(ip) = address.ip() else {
        return String::new();
    };
    let v4 = word(&ip.octets());
    let prefix = match mapped {
        true => [[0; 4], [0; 4], [0, 0, 0xff, 0xff]]
            .iter()
            .map(word)
            .collect::<String>(),
        false => String::new(),
    };
    format!("{prefix}{v4}:{:04X}", address.port())
}

/// The uid of a line, if it is the line of this connection and the connection stands.
fn owner(line: &str, [local, remote]: &[String; 2]) -> Option<u32> {
    const ESTABLISHED: &str = "01";
    let mut fields = line.split_whitespace().skip(1);
    let found = fields.next()? == local && fields.next()? == remote;
    let standing = fields.next()? == ESTABLISHED;
    // The queues, the timer, the retransmits.
    let uid = fields.nth(3)?;
    (found && standing).then(|| uid.parse().ok()).flatten()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_says_whose_socket_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let client = TcpStream::connect(server).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(user_of(peer, server), Some(own));
        // No such connection, and one that is gone: nobody's.
        let other = SocketAddr::new(peer.ip(), peer.port() ^ 1);
        assert_eq!(user_of(other, server), None);
    }

    #[test]
    fn a_socket_of_both_families_is_found_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), server.port());
        let _client = TcpStream::connect(mapped).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(user_of(peer, server), Some(own));
    }

    #[test]
    fn a_line_is_read_as_the_kernel_writes_it() {
        let line = "   1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 123 1 x";
        let wanted =
            ["127.0.0.1:40000", "127.0.0.1:8080"].map(|text| entry(text.parse().unwrap(), false));
        assert_eq!(owner(line, &wanted), Some(1000));
        assert_eq!(owner(&line.replace(" 01 ", " 06 "), &wanted), None);
        assert_eq!(owner("  sl  local_address", &wanted), None);
    }
}
