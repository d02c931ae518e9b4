//! Whose a pool is, and as whom its processes run. Both stand at the start of the pool's key, so
//! that templates of one user never serve another, whatever they are made of; and so that the next
//! daemon can tell whether a template that attaches itself is what it says.

use crate::access::Client;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A user with all groups, as the kernel told them of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// In rising order.
    pub(super) groups: Vec<u32>,
}

/// Whose a pool is, and as whom its processes run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The one user that it serves; `None`: whoever is served.
    pub(super) client: Option<u32>,
    /// Who its processes become; `None`: they stay the daemon's user.
    pub(super) account: Option<Account>,
}

impl Account {
    /// What the client is. Its groups are those that it had itself, so that a template is never
    /// more than who asked for it.
    pub(super) fn of(client: &Client) -> Self {
        let mut groups = client.groups.clone();
        groups.sort_unstable();
        groups.dedup();
        Self { uid: client.uid, gid: client.gid, groups }
    }
}

impl Owner {
    /// The operator's pools: everybody's, unless each user gets templates of his own.
    pub(super) fn operator(own: u32) -> Self {
        Self { client: (own == 0).then_some(0), account: None }
    }

    /// A client's pools.
    pub(super) fn of(client: &Client, own: u32) -> Self {
        let account = (own == 0 && client.uid != 0).then(|| Account::of(client));
        Self { client: Some(client.uid), account }
    }

    /// Out of a key that an earlier daemon of this user made, if whoever shows it is what it says.
    pub(super) fn of_key(key: &[u8], shown_by: &Client, own: u32) -> Option<Self> {
        let head = std::str::from_utf8(key.split(|byte| *byte == b' ').next()?).ok()?;
        let mut parts = head.split('/');
        let client = match parts.next()? {
            "all" => None,
            number => Some(number.parse().ok()?),
        };
        let owner = match parts.next()? {
            "own" => Self { client, account: None },
            _ => Self { client, account: Some(Account::of(shown_by)) },
        };
        let runs_as = owner.account.as_ref().map_or(own, |account| account.uid);
        let is_sound = owner.account.is_none() || (own == 0 && client == Some(shown_by.uid));
        // Every byte of it, groups included.
        (is_sound && runs_as == shown_by.uid && owner.to_string() == head).then_some(owner)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(uid) => write!(f, "{uid}/")?,
            None => f.write_str("all/")?,
        }
        match &self.account {
            None => f.write_str("own"),
            Some(Account { uid, gid, groups }) => {
                let groups = groups.iter().map(ToString::to_string).collect::<Vec<_>>();
                write!(f, "{uid}:{gid}:{}", groups.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(uid: u32, groups: &[u32]) -> Client {
        Client { uid, gid: uid, groups: groups.to_vec() }
    }

    #[test]
    fn a_key_is_believed_from_whom_it_names_only() {
        let anne = client(1001, &[50, 4]);
        let key = |owner: &Owner| format!("{owner} modules x").into_bytes();
        let hers = Owner::of(&anne, 0);
        assert_eq!(hers.to_string(), "1001/1001:1001:4,50");
        assert_eq!(Owner::of_key(&key(&hers), &anne, 0), Some(hers.clone()));
        for other in [client(1002, &[50, 4]), client(1001, &[4]), client(1001, &[0, 4, 50])] {
            assert_eq!(Owner::of_key(&key(&hers), &other, 0), None, "{other:?}");
        }
        assert_eq!(Owner::of_key(&key(&hers), &anne, 900), None, "not a daemon of root");
        for head in ["all/1001:1001:4,50", "0/1001:1001:4,50", "1001/own", "all/own", "x", "", "/"]
        {
            let key = format!("{head} modules x");
            assert_eq!(Owner::of_key(key.as_bytes(), &anne, 0), None, "{head}");
        }
    }

    #[test]
    fn templates_that_stay_the_daemons_user_are_believed_from_it_only() {
        let (own, anne) = (client(900, &[]), client(1001, &[]));
        for owner in [Owner::operator(900), Owner::of(&anne, 900), Owner::of(&own, 900)] {
            let key = format!("{owner} program 1:2");
            assert_eq!(Owner::of_key(key.as_bytes(), &own, 900), Some(owner));
            assert_eq!(Owner::of_key(key.as_bytes(), &anne, 900), None);
        }
        assert_eq!(Owner::operator(900).to_string(), "all/own");
        assert_eq!(Owner::operator(0).to_string(), "0/own");
        assert_eq!(Owner::of(&client(0, &[]), 0), Owner::operator(0));
    }
}
