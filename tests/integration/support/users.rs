//! Users with few rights.

use super::{Conn, Server};

/// A connection of a user `app` with these rights and no others.
pub fn user(server: &Server, rights: &str) -> Conn {
    named(server, "app", rights)
}

pub fn named(server: &Server, name: &str, rights: &str) -> Conn {
    let mut admin = server.connect();
    let setuser = format!("ACL SETUSER {name} reset on >secret {rights}");
    assert_eq!(admin.run(&setuser), "OK");
    let mut user = server.connect();
    user.ok(&["AUTH", name, "secret"]);
    user
}

/// Whether the server itself has refused a command for its key; 7.0 and later ones word it differently.
pub fn is_no_key(reply: &str) -> bool {
    [
        "NOPERM this user has no permissions to access one of the keys used as arguments",
        "NOPERM No permissions to access a key",
    ]
    .contains(&reply)
}
