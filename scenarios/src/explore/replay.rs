//! The disks of a run that is over, at every place of its history.

mod followed;
mod then;

use devices::disk::{BaseError, Media};

use crate::checks::Record;
use followed::{Followed, followed};

pub use followed::Unfollowed;
pub use then::{DiskThen, Write};

/// Goes through a history, and has the disks as they were after each entry.
pub struct Replay<'a> {
    record: &'a Record<'a>,
    disks: Vec<DiskThen>,
    /// What each entry did to the disks, in their order.
    followed: Vec<Followed>,
    /// The next of them.
    next: usize,
    /// The next record of each log.
    places: Vec<usize>,
    /// The next entry of the history.
    entry: usize,
    unfollowed: Option<Unfollowed>,
}

impl<'a> Replay<'a> {
    /// From blank disks on.
    ///
    /// # Errors
    /// A size that no disk has.
    pub fn new(record: &'a Record<'a>) -> Result<Self, devices::disk::MediaError> {
        let disks = record
            .scenario
            .disks
            .iter()
            .map(|spec| Ok(DiskThen::new(Media::blank(spec.size)?, spec.config.atomic_unit, spec.config.tie)))
            .collect::<Result<Vec<_>, _>>()?;
        let (followed, unfollowed) = followed(record);
        let places = vec![0; disks.len()];
        Ok(Self { record, disks, followed, next: 0, places, entry: 0, unfollowed })
    }

    /// The disks as they are now.
    pub fn disks(&self) -> &[DiskThen] {
        &self.disks
    }

    /// How many records of each log belong to what was so far.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// From where on the disks are not known, if history and logs do not tell the same.
    pub fn unfollowed(&self) -> Option<&Unfollowed> {
        self.unfollowed.as_ref()
    }

    /// Whether the next entry of the history changes what may be on the disks.
    pub fn is_about_to_change(&self) -> bool {
        let next = self.followed.get(self.next..).unwrap_or_default();
        next.iter().take_while(|followed| followed.entry == self.entry).any(|followed| {
            let (log, then) = (self.record.logs.get(followed.disk), self.disks.get(followed.disk));
            log.zip(then).is_some_and(|(log, then)| {
                let mut records = followed.records.clone().filter_map(|place| log.get(place));
                records.any(|entry| then.is_changed_by(&entry.record))
            })
        })
    }

    /// Goes on by one entry of the history; returns its place, or None at the end.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn step(&mut self) -> Result<Option<usize>, BaseError> {
        if self.entry >= self.record.entries().len() {
            return Ok(None);
        }
        while let Some(followed) = self.followed.get(self.next).filter(|next| next.entry == self.entry) {
            if let (Some(log), Some(then), Some(place)) = (
                self.record.logs.get(followed.disk),
                self.disks.get_mut(followed.disk),
                self.places.get_mut(followed.disk),
            ) {
                let records = followed.records.clone().filter_map(|place| log.get(place));
                then.follow(records.map(|entry| &entry.record))?;
                *place = followed.records.end;
            }
            self.next += 1;
        }
        self.entry += 1;
        Ok(Some(self.entry - 1))
    }

    /// Whatever a log still has at its end: what a last loss of power took.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn finish(&mut self) -> Result<(), BaseError> {
        while self.step()?.is_some() {}
        for ((log, then), place) in self.record.logs.iter().zip(&mut self.disks).zip(&mut self.places) {
            then.follow((*place..log.len()).filter_map(|place| log.get(place)).map(|entry| &entry.record))?;
            *place = log.len();
        }
        Ok(())
    }
}
