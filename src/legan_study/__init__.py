"""Rating and preference studies in the browser (extra `study`); never reaches torch."""
