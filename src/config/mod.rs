//! The configuration file: load, locate errors, validate, convert once into what the program reads.

pub mod model;
