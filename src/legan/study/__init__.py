"""Rating and preference studies: store, web app, pages. Needs the extra `study`; never reaches torch."""
