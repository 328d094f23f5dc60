//! every split
