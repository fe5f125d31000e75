//! The parts of the kubectl session: its script, the two sides it is run on, and the comparison.

pub mod compare;
pub mod descriptions;
pub mod normal;
pub mod script;
pub mod side;
