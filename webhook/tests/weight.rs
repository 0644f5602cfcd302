//! What objects weigh, beside what they really take: this binary counts all that is allocated.

#[cfg(test)]
mod weight {
    mod objects;
    mod shapes;
}
