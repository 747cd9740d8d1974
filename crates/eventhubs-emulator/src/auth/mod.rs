//! Who may do what: signatures and the addresses that they are for.

pub(crate) mod address;
pub(crate) mod grants;
pub(crate) mod sas;
