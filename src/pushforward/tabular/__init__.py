"""Tables: files, column schemas, estimators of scikit-learn, comparison with classical densities."""
