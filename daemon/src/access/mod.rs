//! Who may use the daemon, and what of it.
//!
//! | file | holds |
//! |---|---|
//! | this one | the policy, and its answers |
//! | [`names`] | users and groups, by name or number |
//!
//! A client is what the kernel says it is: the credentials that it had when it connected, with its
//! supplementary groups. Every refusal names the key of the configuration that would permit it.
//!
//! What must never be in here: descriptors, a look at the system while the daemon serves. Names
//! become numbers when the configuration is read.

pub mod names;

use mpserverd_proto::error::Refusal;
use names::{Named, Party};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The word for programs and modules that clients bring along: code that the operator has not
/// chosen.
pub const OWN_CODE: &str = "own executables";
/// The word for every module that has no line of its own.
pub const ANY_MODULE: &str = "*";

/// Who is at the other end of a connection, as the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Client {
    fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }

    fn is(&self, party: &Party) -> bool {
        match party {
            Party::User(user) => user.id == self.uid,
            Party::Group(group) => self.is_in(group.id),
        }
    }
}

/// What the configuration says about users: its table `[access]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Users that get workers, beside the daemon's own.
    pub users: Vec<Named>,
    /// Groups whose members do.
    pub groups: Vec<Named>,
    /// Who looks at everything and controls it, beside root; without a word, the daemon's user.
    pub operators: Option<Vec<Named>>,
    /// Who may use a module: by name, by absolute path, [`OWN_CODE`] or [`ANY_MODULE`].
    pub modules: BTreeMap<String, Vec<Party>>,
}

impl Access {
    /// Whether anybody but the daemon's own user gets workers.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }

    /// Whether this client gets workers of a daemon that runs as `own`.
    #[must_use]
    pub fn serves(&self, client: &Client, own: u32) -> bool {
        client.uid == own
            || self.users.iter().any(|user| user.id == client.uid)
            || self.groups.iter().any(|group| client.is_in(group.id))
    }

    /// Who looks at everything and controls it, beside root.
    #[must_use]
    pub fn operator_uids(&self, own: u32) -> Vec<u32> {
        match &self.operators {
            Some(operators) => operators.iter().map(|operator| operator.id).collect(),
            None => vec![own],
        }
    }

    /// Whether this user looks at everything and controls it.
    #[must_use]
    pub fn is_operator(&self, uid: u32, own: u32) -> bool {
        uid == 0 || self.operator_uids(own).contains(&uid)
    }

    /// Refuses a client that the daemon, which runs as `own`, has nothing for.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`].
    pub fn admit(&self, client: &Client, own: u32) -> Result<(), Refusal> {
        if self.serves(client, own) || self.is_operator(client.uid, own) {
            return Ok(());
        }
        Err(not_permitted(
            client,
            format!(
                "this daemon of uid {own} is not for this user; `users` or `groups` of [access] in \
                 its configuration would permit it, or start a daemon of your own"
            ),
        ))
    }

    /// Refuses workers.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`].
    pub fn admit_to_workers(&self, client: &Client, own: u32) -> Result<(), Refusal> {
        if self.serves(client, own) {
            return Ok(());
        }
        Err(not_permitted(
            client,
            format!(
                "this user may look at this daemon of uid {own}, but has no workers of it; `users` \
                 or `groups` of [access] in its configuration would permit them"
            ),
        ))
    }

    /// Refuses control.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`].
    pub fn admit_to_control(&self, client: &Client, own: u32) -> Result<(), Refusal> {
        if self.is_operator(client.uid, own) {
            return Ok(());
        }
        Err(not_permitted(
            client,
            "only operators control this daemon; `operators` of [access] in its configuration \
             would permit it"
                .to_owned(),
        ))
    }

    /// Refuses code that is not for this client: `what` is a module's name or path, or
    /// [`OWN_CODE`]. Nothing is withheld from the daemon's own user.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`].
    pub fn admit_to_code(&self, client: &Client, own: u32, what: &str) -> Result<(), Refusal> {
        let rule = self.modules.get_key_value(what).or_else(|| {
            let general = if is_path(what) { OWN_CODE } else { ANY_MODULE };
            self.modules.get_key_value(if what == OWN_CODE { OWN_CODE } else { general })
        });
        let Some((key, parties)) = rule else { return Ok(()) };
        if client.uid == own || parties.iter().any(|party| client.is(party)) {
            return Ok(());
        }
        Err(not_permitted(
            client,
            format!(
                "`{what}` is not for this user; {key:?} of [access.modules] in the daemon's \
                 configuration says whom it is for"
            ),
        ))
    }
}

fn is_path(module: &str) -> bool {
    module.contains('/')
}

fn not_permitted(client: &Client, why: String) -> Refusal {
    Refusal::NotPermitted { uid: client.uid, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 900;

    fn named(id: u32) -> Named {
        Named { name: id.to_string(), id }
    }

    fn client(uid: u32, gid: u32, groups: &[u32]) -> Client {
        Client { uid, gid, groups: groups.to_vec() }
    }

    #[test]
    fn nobody_but_its_own_user_is_served_without_a_word() {
        let access = Access::default();
        assert!(access.serves(&client(OWN, 1, &[]), OWN));
        assert!(!access.serves(&client(0, 0, &[]), OWN));
        assert!(!access.serves(&client(7, OWN, &[OWN]), OWN), "groups are not users");
        assert!(access.is_operator(0, OWN) && access.is_operator(OWN, OWN));
        assert!(!access.is_operator(7, OWN));
        assert!(access.admit(&client(0, 0, &[]), OWN).is_ok());
        assert!(!access.is_shared());
    }

    #[test]
    fn users_and_members_of_groups_are_served() {
        let access = Access { users: vec![named(1)], groups: vec![named(50)], ..Access::default() };
        assert!(access.is_shared());
        for served in [client(1, 9, &[]), client(2, 50, &[]), client(2, 9, &[8, 50])] {
            assert!(access.serves(&served, OWN), "{served:?}");
            assert!(access.admit_to_control(&served, OWN).is_err(), "{served:?}");
        }
        let stranger = client(50, 1, &[2]);
        let refusal = access.admit(&stranger, OWN).unwrap_err();
        assert!(matches!(refusal, Refusal::NotPermitted { uid: 50, .. }), "{refusal}");
        assert!(refusal.to_string().contains("`groups` of [access]"), "{refusal}");
        let root = access.admit_to_workers(&client(0, 0, &[]), OWN).unwrap_err();
        assert!(root.to_string().contains("`users`"), "{root}");
    }

    #[test]
    fn operators_can_be_others_than_the_daemons_user() {
        let access = Access { operators: Some(vec![named(5)]), ..Access::default() };
        assert!(access.is_operator(0, OWN) && access.is_operator(5, OWN));
        assert!(!access.is_operator(OWN, OWN));
        let why = access.admit_to_control(&client(OWN, 1, &[]), OWN).unwrap_err().to_string();
        assert!(why.contains("`operators` of [access]"), "{why}");
    }

    #[test]
    fn code_is_for_whom_its_line_names() {
        let user = |id| Party::User(named(id));
        let group = |id| Party::Group(named(id));
        let modules = BTreeMap::from([
            ("render".to_owned(), vec![user(1), group(50)]),
            ("/opt/x.so".to_owned(), vec![user(2)]),
            (OWN_CODE.to_owned(), vec![user(1)]),
        ]);
        let mut access = Access { modules, ..Access::default() };
        let may = |access: &Access, uid: u32, gid: u32, what: &str| {
            access.admit_to_code(&client(uid, gid, &[]), OWN, what).is_ok()
        };
        assert!(may(&access, 1, 9, "render") && may(&access, 3, 50, "render"));
        assert!(!may(&access, 2, 9, "render") && may(&access, OWN, 9, "render"));
        assert!(may(&access, 2, 9, "other"), "no line, no restriction");
        assert!(may(&access, 2, 9, "/opt/x.so") && !may(&access, 1, 9, "/opt/x.so"));
        assert!(may(&access, 1, 9, "/home/1/own.so") && !may(&access, 2, 9, "/home/2/own.so"));
        assert!(may(&access, 1, 9, OWN_CODE) && !may(&access, 2, 9, OWN_CODE));
        access.modules.insert(ANY_MODULE.to_owned(), Vec::new());
        assert!(!may(&access, 2, 9, "other") && may(&access, 1, 9, "render"));
        let why = access.admit_to_code(&client(2, 9, &[]), OWN, "other").unwrap_err().to_string();
        assert!(why.contains("`other`") && why.contains("\"*\" of [access.modules]"), "{why}");
    }
}
