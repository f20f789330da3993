//! The built-in org: accounts, contacts, leads, opportunities with line items, products, users and tasks, from a seeded process.
//!
//! Every record is a function of (seed, object, row) and of the sizes of the objects it refers to; see [`dice`]. All dates lie
//! in the two years (accounts: six) before 2025-06-30, the moment the org was "left alone".
//!
//! Three outcomes can be learned. Each is drawn with probability `logistic(sum of effects + noise)`, the noise being normal and
//! seen by nobody, so even the true process cannot be perfect (area under the ROC curve about 0.8):
//!
//! * `Lead.IsConverted` ([`leads`]): source, industry, seniority in the free-text title, company size (a hump), engagement counts,
//!   budget with timeline (an interaction), response time (logarithmic), campaign (200 levels with an effect each).
//! * `Opportunity.IsWon` among closed ones ([`opportunities`]): decision maker, meetings, competitor, discount (a hump), the
//!   owner's skill, the account's industry, amount.
//! * `Account.Churned__c` ([`accounts`]): contract type, tenure, tickets, last login, NPS, payment method, seats used.
//!
//! Values are missing at random (addresses, phones), by a rate that depends on the record (revenue, NPS), and because a thing
//! has not happened yet (dates).
//!
//! **The planted leak** is `Lead.Conversion_Score__c`: a custom number that a closing automation fills, so it is there for 95 % of
//! converted leads and for 4 % of the others. Beside it a real org's natural leaks are there too, as everywhere: on Lead, `Status` and the
//! `Converted...` fields; on Opportunity, `StageName`, `Probability`, `ExpectedRevenue` and `ForecastCategoryName`.

mod accounts;
mod contacts;
mod dice;
mod leads;
mod opportunities;
mod people;
mod record;
mod tasks;
mod vocabulary;

pub(crate) use people::INTEGRATION_USERNAME;

use crate::ids::RecordId;
use crate::org::base::BaseWriter;
use crate::org::row::RowBuilder;
use crate::schema::ObjectDef;
use dice::Dice;
use record::Record;
use serde::{Deserialize, Serialize};
use std::io;

/// Raised when the process changes, so that an org made by an older one is made anew.
pub(crate) const VERSION: u32 = 2;

/// How many records each object has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sizes {
    pub users: u64,
    pub products: u64,
    pub accounts: u64,
    pub contacts: u64,
    pub leads: u64,
    pub opportunities: u64,
    pub line_items: u64,
    pub tasks: u64,
}

impl Sizes {
    /// Splits a number of records over the objects: two fifths are leads.
    pub fn of(records: u64) -> Self {
        let share = |percent: u64| (records * percent / 100).max(1);
        let users = (records / 1_000).clamp(3, 500);
        let products = vocabulary::PRODUCTS.len() as u64;
        let (accounts, contacts, leads) = (share(8), share(16), share(40));
        let (opportunities, line_items) = (share(10), share(14));
        let others = users + products + accounts + contacts + leads + opportunities + line_items;
        let tasks = records.saturating_sub(others).max(1);
        Self { users, products, accounts, contacts, leads, opportunities, line_items, tasks }
    }

    /// An object that a file replaces has the file's number of records, and others refer to those.
    pub fn replace(&mut self, object: &str, count: u64) {
        let size = match object.to_lowercase().as_str() {
            "user" => &mut self.users,
            "product2" => &mut self.products,
            "account" => &mut self.accounts,
            "contact" => &mut self.contacts,
            "lead" => &mut self.leads,
            "opportunity" => &mut self.opportunities,
            "opportunitylineitem" => &mut self.line_items,
            "task" => &mut self.tasks,
            _ => return,
        };
        *size = count;
    }
}

/// What every record is a function of.
pub(crate) struct World {
    pub seed: u64,
    pub sizes: Sizes,
}

impl World {
    fn dice(&self, object: &str, row: u64) -> Dice {
        Dice::new(self.seed, object, row)
    }

    /// A user, but not the integration user, which owns nothing.
    fn owner(&self, dice: &mut Dice) -> u64 {
        1 + dice.below(self.sizes.users.saturating_sub(1))
    }

    fn account_of_contact(&self, contact: u64) -> Option<u64> {
        contact.checked_rem(self.sizes.accounts)
    }

    fn account_of_opportunity(&self, opportunity: u64) -> Option<u64> {
        (self.sizes.accounts > 0).then(|| self.dice("Opportunity.AccountId", opportunity).below(self.sizes.accounts))
    }
}

pub(crate) fn user_id(row: u64) -> RecordId {
    RecordId::new("005", row)
}

pub(crate) fn objects() -> Vec<ObjectDef> {
    vec![
        people::user(),
        opportunities::product(),
        accounts::account(),
        contacts::contact(),
        leads::lead(),
        opportunities::opportunity(),
        opportunities::line_item(),
        tasks::task(),
    ]
}

pub(crate) fn write_rows(def: &ObjectDef, world: &World, writer: &mut BaseWriter) -> io::Result<()> {
    type Fill = fn(&World, u64, &mut Record);
    let (count, fill): (u64, Fill) = match def.name.as_str() {
        "User" => (world.sizes.users, people::fill_user),
        "Product2" => (world.sizes.products, opportunities::fill_product),
        "Account" => (world.sizes.accounts, accounts::fill_account),
        "Contact" => (world.sizes.contacts, contacts::fill_contact),
        "Lead" => (world.sizes.leads, leads::fill_lead),
        "Opportunity" => (world.sizes.opportunities, opportunities::fill_opportunity),
        "OpportunityLineItem" => (world.sizes.line_items, opportunities::fill_line_item),
        _ => (world.sizes.tasks, tasks::fill_task),
    };
    let mut record = Record::new(def);
    let mut row_bytes = RowBuilder::new(def.width);
    for row in 0..count {
        fill(world, row, &mut record);
        writer.push(record.write(&mut row_bytes))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
