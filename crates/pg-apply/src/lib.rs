//! pg-apply
