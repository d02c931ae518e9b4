//! Users and groups as the configuration names them: by name, or by number where there is none.

use std::fmt;

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As it was written.
    pub name: String,
    /// Its number.
    pub id: u32,
}

/// A user, or all members of a group; written `name` and `@name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// One user.
    User(Named),
    /// Members of a group.
    Group(Named),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Group(group) => write!(f, "@{group}"),
        }
    }
}

/// Finds a user.
///
/// # Errors
/// Says that there is none of that name, or why nobody can tell.
pub fn user(text: &str) -> Result<Named, String> {
    find(text, "user", lookup_user)
}

/// Finds a group.
///
/// # Errors
/// Says that there is none of that name, or why nobody can tell.
pub fn group(text: &str) -> Result<Named, String> {
    find(text, "group", lookup_group)
}

/// Finds a user, or a group whose name has `@` before it.
///
/// # Errors
/// Says that there is none of that name, or why nobody can tell.
pub fn party(text: &str) -> Result<Party, String> {
    match text.strip_prefix('@') {
        Some(name) => group(name).map(Party::Group),
        None => user(text).map(Party::User),
    }
}

fn find(
    text: &str,
    kind: &str,
    lookup: impl Fn(&str) -> Result<Option<u32>, String>,
) -> Result<Named, String> {
    let named = |id| Named { name: text.to_owned(), id };
    if text.is_empty() || text.contains('\0') {
        return Err(format!("{text:?} is no name of a {kind}"));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The highest number means "leave it as it is" to the calls that change it.
        let number = text.parse().ok().filter(|id| *id != u32::MAX);
        return number.map(named).ok_or_else(|| format!("{text} is no number of a {kind}"));
    }
    match lookup(text) {
        Ok(Some(id)) => Ok(named(id)),
        Ok(None) => Err(format!("there is no {kind} `{text}`; its number would do as well")),
        Err(error) => Err(format!("cannot look up the {kind} `{text}`: {error}")),
    }
}

#[cfg(unix)]
fn lookup_user(name: &str) -> Result<Option<u32>, String> {
    let found = nix::unistd::User::from_name(name).map_err(|errno| errno.to_string())?;
    Ok(found.map(|user| user.uid.as_raw()))
}

#[cfg(unix)]
fn lookup_group(name: &str) -> Result<Option<u32>, String> {
    let found = nix::unistd::Group::from_name(name).map_err(|errno| errno.to_string())?;
    Ok(found.map(|group| group.gid.as_raw()))
}

#[cfg(not(unix))]
fn lookup_user(_name: &str) -> Result<Option<u32>, String> {
    Err("only Unix has users by name".to_owned())
}

#[cfg(not(unix))]
fn lookup_group(_name: &str) -> Result<Option<u32>, String> {
    Err("only Unix has groups by name".to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(user("root").unwrap().id, 0);
        assert_eq!(user("60001"), Ok(Named { name: "60001".into(), id: 60001 }));
        assert_eq!(party("@root").unwrap().to_string(), "@root");
        assert!(matches!(party("@7").unwrap(), Party::Group(Named { id: 7, .. })));
        assert!(matches!(party("7").unwrap(), Party::User(Named { id: 7, .. })));
        for bad in ["", "no-such-user-here", "4294967295", "99999999999", "a\0b", "-1"] {
            assert!(user(bad).is_err(), "{bad:?}");
        }
        assert!(party("@").is_err());
    }
}
