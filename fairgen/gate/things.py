"""The prompt gate's words for what is no person: animals, objects, what only sounds like one.

Data in lower case and in the singular. A hyphen reads as a space, # as any number.
"""

from fairgen.gate.phrases import word_list

# These are no people whatever their words say, and name nobody's attribute.
OTHER_USES = word_list(
    """
    3d model, action figure, air cleaner, aloe vera, american football, apple cobbler, army green,
    australian shepherd, baby blue, baby carrot, baby grand, baby pink, bachelor button, bachelor of
    arts, bachelor pad, bass guitar, berry cobbler, black and white, black forest, black friday,
    black hole, black sea, black widow, blackberry cobbler, blade runner, bloody mary, bronze age,
    brown sugar, brown university, burger king, captain crunch, captain morgan, car model, card
    reader, carpet runner, cassette player, cat walk, cd player, cherry cobbler, chess bishop, chess
    king, chess knight, chess queen, clay model, cook islands, couple of, crane fly, crew cut, crew
    neck, cup holder, dairy queen, dark chocolate, dark fantasy, dark matter, dark mode, dark souls,
    dark web, device driver, doctor of philosophy, dr martens, dr pepper, drain cleaner, dvd player,
    earl grey, elastic band, exercise band, father christmas, father time, file explorer, first
    person perspective, first person shooter, first person view, french horn, fruit cobbler, german
    shepherd, gingerbread man, girl scout cookie, golden age, golden gate, golden hour, golden
    ratio, golf driver, grandfather clock, granny flat, granny smith, granny square, guard of
    honour, guard rail, guide dog, guide to, hair band, head band, hero image, hero section, hero
    shot, horse drawn coach, host of, human anatomy, human rights, hunter green, in general,
    internet explorer, iron age, iron maiden, isle of man, jack of all trades, jack of clubs, jack
    of diamonds, jack of hearts, jack of spades, king of clubs, king of diamonds, king of hearts,
    king of spades, king of the jungle, king size, lady bug, lady finger, lady justice, lady
    liberty, lady slipper, light and shadow, light bulb, light saber, light year, lightning
    conductor, lord of the flies, lord of the rings, man cave, man eater, man hole, man made, man of
    war, man's best friend, master bedroom, master copy, master key, master of arts, master of
    puppets, master of science, master plan, media player, model airplane, model kit, model of,
    model railroad, model railway, model train, mother board, mother earth, mother nature, mother of
    pearl, mother tongue, mount cook, mouth guard, mp3 player, mr clean, mr potato head, mrs potato
    head, mud guard, music player, no one, notre dame, old bailey, old english sheepdog, old
    faithful, old fashioned, old glory, old master, old school, old spice, old testament, old
    trafford, old west, old world, oven cleaner, painted lady, peach cobbler, people carrier, people
    mover, pile driver, pilot light, pipe cleaner, player piano, pool cleaner, prince edward island,
    printer driver, queen anne chair, queen mary, queen of clubs, queen of diamonds, queen of
    hearts, queen of spades, queen of the night, queen size, record player, red admiral, rembrandt
    lighting, resistance band, robber fly, rubber band, runner bean, scale model, screw driver,
    second person view, sergeant major fish, shin guard, sleeping beauty, snow man, soldier fly,
    splash guard, spy glass, stage coach, stair runner, stick figure, stick man, stone age, table
    runner, terracotta army, the thinker, third person perspective, third person shooter, third
    person view, tin man, tin soldier, toy soldier, uncle ben, uncle sam, vacuum cleaner, van gogh
    museum, video player, virgin forest, virgin islands, virgin olive oil, vitruvian man, walking
    stick, watch band, water boatman, wax museum, wedding band, white balance, white chocolate,
    white christmas, white house, white noise, white sea, witch hazel, wizard of oz, young adult
    novel, young at heart
    """
)
# Animals and other beings. A word for a person beside one is no person: "mother bear", "king
# penguin", "cat astronaut".
ANIMALS = word_list(
    """
    albatross, alien, alligator, alpaca, android, angelfish, animal, ant, anteater, antelope, ape,
    aphid, armadillo, axolotl, baboon, badger, barracuda, bat, beagle, bear, beaver, bee, beetle,
    bird, bison, boar, bobcat, buffalo, bug, bull, bulldog, bumblebee, bunny, butterfly, buzzard,
    calf, camel, canary, capybara, caracal, cardinal, caribou, carp, cassowary, cat, caterpillar,
    cattle, centipede, chameleon, cheetah, chick, chicken, chihuahua, chimp, chimpanzee, chinchilla,
    chipmunk, cichlid, clam, clownfish, cobra, cockatoo, cockroach, cod, collie, colt, condor,
    corgi, cougar, cow, coyote, crab, crayfish, creature, cricket, crocodile, crow, cub, dachshund,
    dalmatian, deer, dingo, dinosaur, dobermann, dog, dolphin, donkey, dove, dragon, dragonfly,
    droid, duck, duckling, eagle, earwig, echidna, eel, egret, elephant, elk, emu, falcon, fawn,
    ferret, finch, firefly, fish, flamingo, foal, fox, frog, gazelle, gecko, gerbil, ghost, gibbon,
    giraffe, gnome, goat, goblin, golden retriever, goldfish, golem, goose, gorilla, grasshopper,
    gremlin, greyhound, griffin, grizzly, guinea pig, gull, guppy, haddock, halibut, hamster, hare,
    hawk, hedgehog, hen, heron, hippo, hippopotamus, hornet, horse, hound, hummingbird, husky,
    hyena, hyrax, ibex, ibis, iguana, impala, insect, jackal, jaguar, jellyfish, jerboa, kangaroo,
    kestrel, kingfisher, kitten, kitty, koala, koi, kookaburra, kraken, labrador, ladybird, ladybug,
    lamb, larva, larvae, lemming, lemur, leopard, lion, lioness, lizard, llama, lobster, lynx,
    macaque, macaw, mackerel, magpie, mallard, mammoth, manatee, mandrill, mannequin, manta ray,
    mantis, mare, marmot, mastiff, meerkat, minion, minotaur, mongoose, monkey, monster, moose,
    mosquito, moth, mouse, mule, mussel, narwhal, newt, numbat, ocelot, octopus, ogre, okapi,
    orangutan, orc, orca, oryx, ostrich, otter, owl, ox, oyster, panda, pangolin, panther, parakeet,
    parrot, peacock, pelican, penguin, pet, pheasant, pig, pigeon, piglet, pika, platypus, polar
    bear, pony, poodle, porcupine, porpoise, prawn, puffin, pug, puma, pup, puppy, python, quail,
    quokka, rabbit, raccoon, ram, rat, rattlesnake, raven, red panda, reindeer, retriever, rhino,
    rhinoceros, robin, robot, rodent, rooster, rottweiler, salamander, salmon, sardine, scarecrow,
    schnauzer, scorpion, sea lion, sea turtle, seadragon, seagull, seahorse, seal, serval, shark,
    sheep, sheepdog, shrew, shrimp, skeleton, skunk, sloth, slug, smurf, snail, snake, snowman, sow,
    spaniel, sparrow, spider, squid, squirrel, stag, stallion, starfish, stingray, stoat, stork,
    swan, tabby, tadpole, tapir, tarantula, tarsier, teddy, teddy bear, termite, terrier, tetra,
    tiger, toad, tortoise, toucan, triceratops, troll, trout, tuna, turkey, turtle, tyrannosaurus,
    unicorn, velociraptor, viper, vole, vulture, wallaby, walrus, warthog, wasp, weasel, weevil,
    werewolf, whale, wildcat, wildebeest, wolf, wolfhound, wolverine, wombat, woodpecker, worm,
    wren, xenomorph, yak, zebra, zombie
    """
)
# What a word for a person only describes ("police car"), and what takes an adjective that stands
# before it ("white coat", "old house").
THINGS = word_list(
    """
    academy, accessory, ad, advertisement, aircraft, airplane, alley, almond, ambulance, anatomy,
    anchor, apartment, app, apparel, apple, appreciation, apron, aquarium, arena, armchair, armor,
    armour, art, association, attire, avenue, award, axe, backdrop, background, backpack, badge,
    bag, balcony, ball, balloon, bandage, bandana, banner, bar, barge, barn, barracks, basement,
    basket, bathrobe, bathroom, bay, beach, bed, bedroom, beer, bell, belt, bench, beret, bible,
    bicycle, bike, bikini, blanket, blazer, block, blouse, boat, bobblehead, bone, bonnet, bonsai,
    book, bookcase, boot, booth, boots, bottle, boulevard, bouquet, bow, bowl, bowtie, box, boxers,
    bracelet, bread, breakfast, brick, bridge, brim, brochure, broom, broomstick, brush, bucket,
    building, bulb, bunker, burqa, bus, bush, bust, button, cab, cabin, cabinet, cactus, cafe,
    cafeteria, cake, calendar, camera, camp, candle, cane, canoe, canvas, canyon, cap, cape, car,
    card, cardigan, carpet, carriage, cart, case, castle, cathedral, cauldron, cave, ceiling,
    cellar, cemetery, center, centre, certificate, chair, chalkboard, chamber, chandelier, chapel,
    chariot, chart, checklist, cherry, chess, chessboard, chocolate, church, cigar, cigarette, city,
    classroom, cliff, clinic, clipboard, cloak, clock, clogs, closet, cloth, clothes,
    clothing, cloud, club, coast, coat, coated, coffee, coffin, coin, collar, college, column, comb,
    comic, compass, computer, concrete, contract, cookbook, cookie, corset, costume, cottage, couch,
    counter, court, courtyard, couture, cove, cradle, crate, crater, cravat, creek, crescent, crest,
    crib, cross, crown, cup, curtain, cushion, cutout, dagger, daisy, dashboard, day, deck, denim,
    desert, desk, diagram, diary, diploma, discount, dish, district, dock, doll, dome, door,
    doorway, dorm, dormitory, drawer, dress, dressed, drill, drink, drone, drum, dune, duty,
    earring, easel, effigy, elevator, emblem, emoji, engine, episode, equipment, fabric, factory,
    fan, farm, fashion, feather, fence, fern, ferry, field, figurine, fjord, flag, flat, floor,
    flower, flute, flyer, fog, folder, food, forest, fork, fort, fortress, fountain, frame, fridge,
    fruit, fur, furniture, gallery, garage, garden, garment, gate, gavel, gear, gi, glacier,
    glasses, glove, gloved, goggles, gold, gown, grass, grave, gravestone, guitar, gun, gym, hall,
    hallway, hammer, handbag, handbook, handcuffs, haori, harbor, harbour, harp, hat, hatted,
    headband, headdress, headphones, headscarf, hedge, heel, helicopter, helmet, highway, hijab,
    hill, hoodie, hook, hospital, hostel, hotel, house, housing, hut, ice, icon, ink, inn,
    instrument, insurance, interface, interior, island, ivory, jacket, jar, jeans, jersey, jet,
    jewel, jewellery, jewelry, joggers, juice, jumper, jumpsuit, jungle, kayak, kettle, key,
    keyboard, kilt, kimono, kiosk, kit, kitchen, kite, knife, lab, ladder, lake, lamp, landing page,
    lane, lantern, laptop, lawn, leaf, leather, leggings, lens, leotard, letter, library, licence,
    license, lighthouse, lily, limousine, lipstick, loafers, lobby, locker, locket, lodge, log, log
    book, logo, lounge, luggage, lunch, machine, magazine, mailbox, makeup, mall, manor, mansion,
    mantle, manual, map, marble, market, mask, masked, mat, mattress, meadow, medal, melon, meme,
    memorial, menu, metal, microphone, microscope, mill, mirror, mist, mitten, mockup, monastery,
    monument, moon, mosque, motel, motorbike, motorcycle, mountain, mug, mural, museum, mushroom,
    music box, nail, napkin, necklace, necktie, neighborhood, newspaper, notebook, oak, oar, ocean,
    office, oil, orbit, orchard, orchid, orientation, outfit, overalls, overcoat, paddle, pajamas,
    palace, palette, palm, pan, pants, paper, parchment, park, passport, path, pavement, pen,
    pencil, peninsula, pension, penthouse, pepper, pharmacy, phone, piano, pie, pier, pillar,
    pillow, pin, pine, pipe, pizza, plain, plane, plant, plaque, plate, platform, playground, plaza,
    plum, pocket, podium, pole, poncho, pond, pool, porcelain, porch, port, portal, poster, pot,
    potato, potion, pouch, printer, prison, prop, protea, pub, pump, purse, quarry, quarters, quilt,
    quote, racket, radio, railing, railway, raincoat, ranch, razor, recipe, residence, restaurant,
    ribbon, rifle, ring, river, road, robe, robed, rock, rocket, roof, room, rope, rose, row house,
    rug, ruin, ruins, saber, sack, saddle, salad, salary, salon, sand, sandal, sandwich, sari, sash,
    satchel, scalpel, scarecrow, scarf, scepter, scholarship, school, scissors, scooter, screen,
    scroll, scrubs, sculpture, sea, seat, seed, service, setup, shaped, shawl, shed, shelf, shell,
    sherwani, shield, ship, shipwreck, shirt, shoe, shop, shore, shorts, sign, silk, sim, simulator,
    sink, sized, skateboard, ski, skirt, skull, sky, skyline, skyscraper, sled, sleeve, sleigh,
    slipper, smock, smoke, sneaker, snow, snowboard, sock, sofa, soup, spaceship, spacesuit, spear,
    spectacles, spoon, spray, spray bottle, square, stadium, stage, staircase, stall, stamp, stand,
    station, statue, statuette, stencil, stethoscope, stick, sticker, stocking, stone, stool, store,
    storm, stove, street, strike, stripe, stroller, studio, style, submarine, suit, suitcase,
    suited, sunglasses, sunhat, surfboard, swamp, sweater, sweatshirt, swimsuit, sword, symbol,
    syringe, t shirt, table, tail, tank, tapestry, tarmac, tattoo, tavern, tea, teacup, teapot,
    template, temple, tent, terrace, theater, theatre, themed, throne, tie, tile, tire, toga,
    tomato, tomb, tool, toolbox, torch, tower, town, track, tracksuit, tractor, trail, trailer,
    train, trainers, tram, trap, tray, tree, trench, tricycle, trolley, trophy, trousers, truck,
    trumpet, trunk, tulip, tunic, tunnel, turban, turtleneck, tutu, tuxedo, typewriter, umbrella,
    uniform, union, university, utensil, valley, van, vase, vault, vehicle, veil, velvet, vest,
    villa, village, vineyard, violin, voucher, voyage, wagon, waistcoat, wall, wallet, wallpaper,
    wand, ward, wardrobe, watch, water, waterfall, wave, wax figure, weapon, website, wheel,
    wheelchair, whip, whiskey, whisky, whistle, wig, windmill, window, wine, wing, wire, wok, wood,
    woods, wool, workshop, wrench, yacht, yard, yard sale, zone
    """
)
# What owners of these are in the picture with: "a farmer's hands".
BODY = word_list(
    """
    arm, back, beard, body, braid, brow, cheek, chin, close up, curl, ear, expression, eye, eyebrow,
    eyed, face, finger, fist, foot, forehead, gaze, grin, hair, haired, hairstyle, hand, head, leg,
    lip, moustache, mouth, mustache, nose, profile, shoulder, silhouette, smile, tooth, torso
    """
)
# Whoever these or most things are of is not in the picture: "in the style of a master".
BELONGINGS = word_list(
    """
    biography, grave, home, manner, name, sense, shape, size, skull, spirit, story, tools, works
    """
)
# Things that show whom they are of.
DEPICTIONS = word_list(
    """
    art, book, calendar, canvas, card, coin, comic, frame, icon, logo, magazine, medal, mirror,
    mural, passport, phone, poster, screen, scroll, stage, stamp, sticker, tapestry, tattoo,
    wallpaper, window
    """
)
# What they are made of or as is no person: "lego firefighter", "marble goddess".
FIGURINES = word_list(
    """
    cardboard, ceramic, clay, claymation, crochet, crocheted, felt, funko, gingerbread, inflatable,
    knitted, lego, marble, marionette, miniature, nutcracker, origami, papier mache, plastic,
    playmobil, plush, plushie, porcelain, puppet, stone, stuffed, terracotta, tin, toy, wax, wooden
    """
)
