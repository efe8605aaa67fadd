//! What tests share: fakes of the seams and one suite per seam, run against every implementation.

pub mod contract;
pub mod sandbox;
pub mod seams;
pub mod sim;
pub mod storage;
