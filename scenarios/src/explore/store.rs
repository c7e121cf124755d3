//! What a campaign has done, in a file. Killed at any moment, it goes on with nothing lost and nothing doubled.
//!
//! One transaction takes in one leaf: its states, its outcome, what was found. A state is known by the sum over its contents, which is a key of
//! its table: SQLite itself refuses to have one twice. What a crash of the *host* takes from the end of the file was never told to anybody, and
//! is decided again.

mod lock;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{FromSql, ToSql};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::identity::Identity;
use super::judge::Finding;
use super::recovery::Outcome;
use super::tree::Effort;
use lock::Lock;
pub use trouble::StoreError;

/// In the head of the file, so that other databases are not taken for ours: `kjvm`.
const APPLICATION: i32 = i32::from_be_bytes(*b"kjvm");
/// Version of the format.
const FORMAT: i64 = 1;
/// How long it waits for somebody who looks into the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names in the table `meta`.
const SECONDS: &str = "seconds";
/// A sum over states and their outcomes.
const CHECK: &str = "check";
const CONCLUSION: &str = "conclusion";

/// Sums are 16 bytes, the highest first.
const TABLES: &str = "
    CREATE TABLE identity (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value TEXT NOT NULL);
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE units (number INTEGER PRIMARY KEY, states INTEGER NOT NULL, done INTEGER NOT NULL);
    CREATE TABLE outcomes (number INTEGER PRIMARY KEY, outcome TEXT NOT NULL UNIQUE, told TEXT NOT NULL);
    CREATE TABLE leaves (number INTEGER PRIMARY KEY, unit INTEGER NOT NULL REFERENCES units, outcome INTEGER NOT NULL REFERENCES outcomes,
        forks INTEGER NOT NULL, instructions INTEGER NOT NULL, console TEXT);
    CREATE TABLE states (sum BLOB PRIMARY KEY, leaf INTEGER NOT NULL REFERENCES leaves) WITHOUT ROWID;
    CREATE TABLE findings (clause TEXT, class TEXT, step TEXT, seen INTEGER NOT NULL, observed TEXT NOT NULL, witness BLOB NOT NULL,
        cut INTEGER NOT NULL, lost INTEGER NOT NULL, PRIMARY KEY (clause, class, step)) WITHOUT ROWID;
";

/// The file of a campaign, which is nobody else's as long as this lives.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    _lock: Option<Lock>,
}

/// A boot that came to its end, as it is kept.
#[derive(Debug)]
pub struct Done<'a> {
    /// Number of the unit it belongs to.
    pub unit: usize,
    /// Sums of the states it decides.
    pub sums: Vec<u128>,
    /// What came of them.
    pub outcome: &'a Outcome,
    /// What it took beyond the boots before it.
    pub effort: Effort,
    /// The last lines of the console, where they may be wanted.
    pub console: Option<String>,
    /// What was found so far, and the sum of the witness of each; only those of which more was seen.
    pub findings: Vec<(&'a Finding, u128)>,
    /// Seconds that the campaign took so far, whenever it ran.
    pub seconds: f64,
}

/// What was done before.
#[derive(Debug, Default, PartialEq)]
pub struct Before {
    /// States that are decided, by their outcome.
    pub states: BTreeMap<Outcome, Vec<u128>>,
    /// What it took.
    pub effort: Effort,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Store {
    /// The name of the file in the directory of a campaign.
    pub const NAME: &str = "campaign.sqlite";

    /// Whether there is a campaign in a directory, or the beginning of one.
    pub fn is_in(directory: &Path) -> bool {
        [Self::NAME, Lock::NAME].into_iter().any(|name| directory.join(name).exists())
    }

    /// The campaign in this directory, or a new one. An identity is what it is to have; one that has begun keeps its own.
    ///
    /// # Errors
    /// [`StoreError`]: somebody else has it, it is none or is damaged, it is of another campaign, or the host.
    pub fn open(directory: &Path, identity: &Identity) -> Result<Self, StoreError> {
        let io = |error| StoreError::Directory { path: directory.to_owned(), error };
        std::fs::create_dir_all(directory).map_err(io)?;
        let lock = Lock::take(directory)?;
        let path = directory.join(Self::NAME);
        let connection = Connection::open(&path).map_err(|error| StoreError::of(&path, error))?;
        let store = Self { connection, path, _lock: Some(lock) };
        store.prepare(identity)?;
        Ok(store)
    }

    /// One that is gone when it is over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn in_memory(identity: &Identity) -> Result<Self, StoreError> {
        let path = PathBuf::from("memory");
        let connection = Connection::open_in_memory().map_err(|error| StoreError::of(&path, error))?;
        let store = Self { connection, path, _lock: None };
        store.prepare(identity)?;
        Ok(store)
    }

    /// Moves what is in a directory out of the way, and says where it is now.
    ///
    /// # Errors
    /// [`StoreError`]: somebody is at work on it, or the host.
    pub fn move_away(directory: &Path) -> Result<PathBuf, StoreError> {
        let _lock = Lock::take(directory)?;
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let free = (1..u32::MAX).map(|number| directory.with_file_name(format!("{name}.{number}")));
        let free = free.into_iter().find(|path| !path.exists()).unwrap_or_default();
        let io = |error| StoreError::Directory { path: directory.to_owned(), error };
        std::fs::rename(directory, &free).map_err(io)?;
        Ok(free)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn sql<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.connection).map_err(|error| StoreError::of(&self.path, error))
    }

    /// It says something that cannot be.
    pub fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.into() }
    }

    fn prepare(&self, identity: &Identity) -> Result<(), StoreError> {
        self.sql(set_up)?;
        let tables = self.sql(|connection| number(connection, "SELECT count(*) FROM sqlite_schema"))?;
        let application = self.sql(|connection| number(connection, "PRAGMA application_id"))?;
        // Nothing at all: killed before anything was written.
        if (tables, application) == (0, 0) {
            return self.sql(|connection| begin(connection, identity));
        }
        let path = self.path.clone();
        if application != i64::from(APPLICATION) {
            return Err(StoreError::Foreign { path });
        }
        match self.sql(|connection| number(connection, "PRAGMA user_version"))? {
            FORMAT => {}
            found => return Err(StoreError::Format { path, found, known: FORMAT }),
        }
        let check =
            |connection: &Connection| connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        let found: String = self.sql(check)?;
        if found != "ok" {
            return Err(StoreError::Damaged { path, what: found });
        }
        self.compare(identity)
    }

    /// What is known of the identity now has to be what was known before, and is kept.
    ///
    /// # Errors
    /// [`StoreError::Differs`], or the host.
    pub fn identify(&self, now: &Identity) -> Result<(), StoreError> {
        self.compare(now)?;
        self.sql(|connection| keep(connection, now))
    }

    fn compare(&self, now: &Identity) -> Result<(), StoreError> {
        let parts = self.sql(|connection| {
            let mut parts = connection.prepare("SELECT name, value FROM identity ORDER BY number")?;
            parts.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let changed = Identity::of_parts(parts).differs_from(now);
        if changed.is_empty() {
            Ok(())
        } else {
            Err(StoreError::Differs { path: self.path.clone(), changed })
        }
    }

    /// What there is to do: units by number, and how many states each has. The same whenever it is asked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self, units: impl Iterator<Item = (usize, usize)>) -> Result<(), StoreError> {
        self.sql(|connection| {
            let transaction = connection.unchecked_transaction()?;
            for (number, states) in units {
                let unit =
                    "INSERT INTO units VALUES (?1, ?2, 0) ON CONFLICT (number) DO UPDATE SET states = ?2";
                transaction.execute(unit, params![number as i64, states as i64])?;
            }
            transaction.commit()
        })
    }

    /// Units of which nothing is left to do.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn done(&self) -> Result<BTreeSet<usize>, StoreError> {
        self.sql(|connection| {
            let mut units = connection.prepare("SELECT number FROM units WHERE done")?;
            units.query_map([], |row| row.get::<_, i64>(0))?.map(|unit| Ok(unit? as usize)).collect()
        })
    }

    /// Nothing is left to do of a unit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish(&self, unit: usize) -> Result<(), StoreError> {
        let done = "UPDATE units SET done = 1 WHERE number = ?1";
        self.sql(|connection| connection.execute(done, [unit as i64]).map(|_| ()))
    }

    /// What was done so far, whoever did it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn before(&self) -> Result<Before, StoreError> {
        let mut before = Before::default();
        let rows: Vec<(String, [u8; 16])> = self.sql(|connection| {
            let joined = "SELECT outcome, sum FROM states JOIN (SELECT leaves.number AS of, outcomes.outcome FROM leaves
                JOIN outcomes ON outcomes.number = leaves.outcome) ON of = leaf";
            connection.prepare(joined)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let mut check: u128 = 0;
        for (outcome, sum) in rows {
            check = check.wrapping_add(term(u128::from_be_bytes(sum), &outcome));
            let outcome = serde_json::from_str(&outcome).map_err(|error| StoreError::Damaged {
                path: self.path.clone(),
                what: format!("an outcome that there is not: {error}"),
            })?;
            before.states.entry(outcome).or_default().push(u128::from_be_bytes(sum));
        }
        if check != self.meta(CHECK)?.map_or(0, u128::from_be_bytes) {
            return Err(self.damaged("what it says of states is not what was written"));
        }
        before.effort = self.sql(|connection| {
            let sums = "SELECT count(*), coalesce(sum(forks), 0), coalesce(sum(instructions), 0) FROM leaves";
            let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(|count| count as u64);
            let mut effort = connection.query_row(sums, [], |row| {
                Ok(Effort {
                    executed: count(row, 0)?,
                    decided: 0,
                    forks: count(row, 1)?,
                    instructions: count(row, 2)?,
                })
            })?;
            effort.decided = number(connection, "SELECT count(*) FROM states")? as u64;
            Ok(effort)
        })?;
        before.seconds = self.meta(SECONDS)?.unwrap_or_default();
        Ok(before)
    }

    /// Takes a leaf in, whole or not at all.
    ///
    /// # Errors
    /// [`StoreError`]: the host, or a state that is decided already.
    pub fn add(&self, done: &Done<'_>) -> Result<(), StoreError> {
        let outcome = serde_json::to_string(done.outcome).map_err(|error| StoreError::Damaged {
            path: self.path.clone(),
            what: format!("an outcome that cannot be kept: {error}"),
        })?;
        self.sql(|connection| {
            // If anything fails, what was begun is undone when this is dropped.
            let transaction = connection.unchecked_transaction()?;
            add(&transaction, done, &outcome)?;
            transaction.commit()
        })
    }

    /// Findings anew, as they follow from what is decided.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_anew<'f>(
        &self,
        findings: impl Iterator<Item = (&'f Finding, u128)>,
    ) -> Result<(), StoreError> {
        self.sql(|connection| {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM findings", [])?;
            findings.into_iter().try_for_each(|(finding, witness)| find(&transaction, finding, witness))?;
            transaction.commit()
        })
    }

    /// What came of all of it, in words of the campaign's; None: it is not at its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn conclusion(&self) -> Result<Option<String>, StoreError> {
        self.meta(CONCLUSION)
    }

    /// It is at its end, and this came of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn conclude(&self, conclusion: &str) -> Result<(), StoreError> {
        self.sql(|connection| set(connection, CONCLUSION, &conclusion))
    }

    fn meta<T: FromSql>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.sql(|connection| meta(connection, name))
    }
}

fn number(connection: &Connection, query: &str) -> rusqlite::Result<i64> {
    connection.query_row(query, [], |row| row.get(0))
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // Others may look while it goes on. A crash of the host may take the last leaves, never a part of one.
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn begin(connection: &Connection, identity: &Identity) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    keep(&transaction, identity)?;
    transaction.commit()
}

fn keep(connection: &Connection, identity: &Identity) -> rusqlite::Result<()> {
    let part = "INSERT OR IGNORE INTO identity (name, value) VALUES (?1, ?2)";
    identity.parts().try_for_each(|(name, value)| connection.execute(part, [name, value]).map(|_| ()))
}

fn set(connection: &Connection, name: &str, value: &dyn ToSql) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![name, value]).map(|_| ())
}

fn meta<T: FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    let mut value = connection.prepare("SELECT value FROM meta WHERE name = ?1")?;
    value.query_row([name], |row| row.get(0)).optional()
}

/// What a state adds to the sum over all that was decided.
fn term(sum: u128, outcome: &str) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&sum.to_be_bytes()).update(outcome.as_bytes());
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    u128::from_be_bytes(half)
}

fn add(transaction: &Transaction<'_>, done: &Done<'_>, outcome: &str) -> rusqlite::Result<()> {
    let known = "INSERT OR IGNORE INTO outcomes (outcome, told) VALUES (?1, ?2)";
    transaction.prepare(known)?.execute([outcome, &done.outcome.to_string()])?;
    let leaf = "INSERT INTO leaves (unit, outcome, forks, instructions, console)
        SELECT ?1, number, ?2, ?3, ?4 FROM outcomes WHERE outcome = ?5";
    let (forks, instructions) = (done.effort.forks as i64, done.effort.instructions as i64);
    transaction.prepare(leaf)?.execute(params![
        done.unit as i64,
        forks,
        instructions,
        done.console,
        outcome
    ])?;
    let leaf = transaction.last_insert_rowid();
    let mut state = transaction.prepare("INSERT INTO states VALUES (?1, ?2)")?;
    done.sums.iter().try_for_each(|sum| state.execute(params![sum.to_be_bytes(), leaf]).map(|_| ()))?;
    done.findings.iter().try_for_each(|(finding, witness)| find(transaction, finding, *witness))?;
    let check = meta(transaction, CHECK)?.map_or(0, u128::from_be_bytes);
    let check = done.sums.iter().fold(check, |check, sum| check.wrapping_add(term(*sum, outcome)));
    set(transaction, CHECK, &check.to_be_bytes())?;
    set(transaction, SECONDS, &done.seconds)
}

fn find(connection: &Connection, finding: &Finding, witness: u128) -> rusqlite::Result<()> {
    let Finding { class, origin, seen, observed, .. } = finding;
    let found = "INSERT OR REPLACE INTO findings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection
        .prepare(found)?
        .execute(params![
            class.clause,
            class.what,
            class.step,
            *seen as i64,
            observed.to_string(),
            witness.to_be_bytes(),
            origin.cut as i64,
            origin.lost as i64
        ])
        .map(|_| ())
}

#[cfg(test)]
mod tests;
