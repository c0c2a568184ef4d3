"""Tables, plots and the page that gathers them."""
